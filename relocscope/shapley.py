"""Shapley values of a game whose players are given by name, and what pairs of them do together. Pure arithmetic."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from math import factorial

Worth = Mapping[frozenset[str], float]
"""What each set of players is worth; every subset is there."""


def subsets(players: Sequence[str]) -> Iterator[frozenset[str]]:
    """Yield every set of the players, smallest first."""
    for size in range(len(players) + 1):
        for chosen in combinations(players, size):
            yield frozenset(chosen)


def shapley(players: Sequence[str], worth: Worth) -> dict[str, float]:
    """Return each player's average marginal worth over all orders; they sum to what all are worth over none."""
    count = len(players)
    values = dict.fromkeys(players, 0.0)
    for player in players:
        others = [other for other in players if other != player]
        for chosen in subsets(others):
            weight = factorial(len(chosen)) * factorial(count - len(chosen) - 1) / factorial(count)
            values[player] += weight * (worth[chosen | {player}] - worth[chosen])
    return values


def interaction(players: Sequence[str], worth: Worth, one: str, other: str) -> float:
    """Return what two players are worth together beyond what each is alone, averaged over all orders of the rest.

    The Shapley interaction index (Grabisch and Roubens 1999). Each one's Shapley value has half of it.
    """
    rest = [player for player in players if player not in (one, other)]
    count, total = len(players), 0.0
    for chosen in subsets(rest):
        weight = factorial(len(chosen)) * factorial(count - len(chosen) - 2) / factorial(count - 1)
        both = worth[chosen | {one, other}] + worth[chosen]
        total += weight * (both - worth[chosen | {one}] - worth[chosen | {other}])
    return total


def largest_remainder(exact: Mapping[str, float], total: int) -> dict[str, int]:
    """Round to integers that sum to `total`: floors, then one more where the remainder is largest.

    The exact values must sum to `total` up to rounding of floating point.
    """
    floors = {name: int(value // 1) for name, value in exact.items()}
    missing = total - sum(floors.values())
    order = sorted(exact, key=lambda name: floors[name] - exact[name])
    for step in range(abs(missing)):
        floors[order[step % len(order)]] += 1 if missing > 0 else -1
    return floors
