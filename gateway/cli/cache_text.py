"""The response cache as people read it on a terminal. Pure: facts in, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Facts = Mapping[str, Any]  # Any: numbers, text, lists of the same; None where nothing is known

_SPANS = ((86_400, "d"), (3_600, "h"), (60, "m"))
_SIZES = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def stats_text(facts: Facts) -> str:
    store, purges, by = facts["store"], facts["purges"], facts["by"]
    lines = []
    if facts["groups"]:
        head = (by, "entries", "stored", "stale", "newest", "oldest")
        rows = [
            (one[by] or "-", f"{one['entries']:,}", size(one["stored_bytes"]), f"{one['stale']:,}",
             span(one["newest_age_s"]), span(one["oldest_age_s"]))
            for one in facts["groups"]
        ]  # fmt: skip
        lines += [*_table(head, rows), ""]
    lines.append(
        f"{entries(facts['entries'])}, {size(facts['stored_bytes'])}; past their end {facts['stale']:,}, purged and not"
        f" yet removed {facts['purged']:,}, unreadable {facts['unreadable']:,}"
    )
    if not facts["complete"]:
        lines.append(f"there are more: only {facts['entries']:,} were looked at (--most)")
    most = size(store["max_bytes"]) if store["max_bytes"] else "no bound"
    lines.append(
        f"store: {size(store['used_bytes'])} of {most} in use by {store['keys']:,} keys of all kinds,"
        f" {store['policy'] or 'an unknown policy'}, {store['evictions']:,} evicted"
    )
    lines.append(f"purges: epoch {purges['epoch']}, labels remembered: {purges['labels']:,}")
    if store["warning"]:
        lines.append(f"warning: {store['warning']}")
    return "\n".join(lines)


def purge_text(facts: Facts) -> str:
    lines = [
        f"purged: {', '.join(facts['purged'])}",
        f"{entries(facts['entries'])} removed, {size(facts['freed_bytes'])}; no worker replays them any more",
    ]
    if not facts["complete"]:
        lines.append("there are more, not removed yet: they are not replayed either, and end with their time")
    return "\n".join(lines)


def inspect_text(facts: Facts) -> str:
    who = f"team {facts['team']}" + (f", key {facts['key']}" if facts["key"] else "")
    lines = [f"route {facts['route']}, {who}"]
    rule, kept = facts["cache"], facts["kept"]
    if rule is None:
        return "\n".join([*lines, facts["reason"]])
    reason = f" ({facts['reason']})" if facts["reason"] else ""
    lines.append(f"scope {facts['scope'] or 'everybody'}, name {facts['name']}")
    for does, says in (("looks", "is looked for"), ("keeps", "would be kept"), ("shares", "shares a call")):
        lines.append(f"{says:<15}{'yes' if facts[does] else f'no{reason}'}")
    if rule["semantic"]:
        lines.append("what only means the same is not looked for here")
    return "\n".join([*lines, *_kept(kept)])


def _kept(kept: Facts | None) -> Sequence[str]:
    if kept is None:
        return ["nothing is kept for it"]
    if "model" not in kept:
        return [f"kept: {size(kept['stored_bytes'])}, not replayed: {kept['why_not']}"]
    how = "replayed" if kept["replayed"] else f"not replayed: {kept['why_not']}"
    saved = kept["saved_usd_a_hit"]
    saves = "its model has no price now" if saved is None else f"saves ${saved} a hit"
    return [
        f"kept: {kept['model']}, {span(kept['age_s'])} old, {kept['freshness']}, fresh for {span(kept['fresh_for_s'])},"
        f" ends in {span(kept['ends_in_s'])}",
        f"      {kept['body_bytes']:,} bytes, {kept['stored_bytes']:,} as stored; {saves}; {how}",
    ]


def entries(count: int) -> str:
    return f"{count:,} {'entry' if count == 1 else 'entries'}"


def size(count: int) -> str:
    for unit, name in _SIZES:
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} B"


def span(seconds: int | None) -> str:
    if seconds is None:
        return "-"
    for unit, name in _SPANS:
        if seconds >= 2 * unit:
            return f"{seconds // unit}{name}"
    return f"{seconds}s"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The first column to the left, numbers to the right."""
    lines = [head, *rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    return [
        "  ".join(cell.ljust(width) if at == 0 else cell.rjust(width) for at, (cell, width) in enumerate(
            zip(line, widths, strict=True)))
        for line in lines
    ]  # fmt: skip
