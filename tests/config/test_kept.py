"""A configuration that was kept makes the same decisions again, in any environment and at any later time."""

import zlib

import pytest

from gateway.config import SHIPPED_ROUTES, keep, load, restore
from gateway.core.world import World, key_digest
from tests.config.conffiles import BOOK, MINIMAL, NOW

ENV = {"OPENAI_API_KEY": "sk-canary-1", "TEAM_KEY": "sk-canary-2", "MY_BASE": "http://canary.test:9"}
EXTRA = """
providers:
  openai: {base_url_env: MY_BASE}
teams:
  search: {keys: [{id: app, env: TEAM_KEY}]}
"""


def without_environment(world: World) -> tuple[object, ...]:
    market = world.market
    return (market.models, market.off, world.routes, world.teams, world.rules, world.version, market.priors,
            {name: (one.jurisdiction, one.dialect) for name, one in market.providers.items()})  # fmt: skip


@pytest.mark.parametrize("env", [{}, {"OPENAI_API_KEY": "sk-canary-1"}])
def test_the_shipped_configuration_is_restored_whole(env: dict[str, str]):
    loaded = load(SHIPPED_ROUTES, env, now=NOW)
    restored = restore(keep(loaded), loaded.world.version, NOW)
    assert without_environment(restored) == without_environment(loaded.world)
    for name in loaded.world.market.models:
        assert restored.market.prices.at(name, NOW) == loaded.world.market.prices.at(name, NOW)


def test_what_the_environment_said_is_not_needed_and_none_of_it_is_kept(tmp_path):
    routes = tmp_path / "routes.yaml"
    routes.write_text(MINIMAL + EXTRA)
    loaded = load(routes, ENV, now=NOW, pricebook=BOOK)
    assert key_digest("sk-canary-2") in loaded.world.callers

    kept = keep(loaded)
    assert b"canary" not in zlib.decompress(kept)
    restored = restore(kept, loaded.world.version, NOW)
    assert without_environment(restored) == without_environment(loaded.world)
    assert not restored.callers


@pytest.mark.parametrize("content", [b"nothing of ours", zlib.compress(b"{}"), zlib.compress(b"\xff")])
def test_what_is_no_configuration_is_said_to_be_none(content: bytes):
    with pytest.raises(ValueError, match="v was kept in a form that cannot be read"):
        restore(content, "v", NOW)
