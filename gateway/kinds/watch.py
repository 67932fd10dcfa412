"""Has the traffic left what the kinds were taught on? Seen from many prompts, where a single one does not tell.

A prompt of an unknown kind is often taken for a known one, and with confidence: chemistry for physics. Many of them in
a row are less sure than usual, and that shows within some 10 to 40. So a level is kept (Page's CUSUM test): it rises
with each prompt that is less typical than the middle one of those the file was calibrated on, and falls otherwise. It
begins high, since trust in new traffic is yet to be earned (Lucas and Crosier 1982), and an alarm lifts it to the
ceiling, so that one typical prompt does not end it.

A file that was not calibrated on the traffic it will see, as the one that ships, never raises it.

Pure: whoever sees the traffic keeps the level, per route, and hands it in.
"""

from __future__ import annotations

SPREAD = 12**-0.5
"""Standard deviation of how typical usual prompts are: any value from 0 to 1 is as likely as another."""

ALLOWANCE = 0.25
START = 8.0
ALARM = 10.0
CEILING = 2 * ALARM
"""In spreads. With these one of 3,000 usual prompts raises an alarm; from the ceiling usual ones end it within 40."""


def watched(level: float, typical: float) -> float:
    """The level after one more prompt; it begins at START."""
    after = min(max(level + (0.5 - typical) / SPREAD - ALLOWANCE, 0.0), CEILING)
    return CEILING if level <= ALARM < after else after


def drifted(level: float) -> bool:
    """Kinds are not to be relied on now: route by priors, or to the model that is best on the whole."""
    return level > ALARM
