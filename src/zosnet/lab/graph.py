"""What a world is held against: cycles and shortest distances of a graph, worked out in the plain way."""

from heapq import heappop, heappush

__all__ = ["cycle", "distances"]


def cycle(edges: dict[int, list[int]]) -> list[int]:
    """Some cycle of the directed graph, its first node again at the end, or an empty list."""
    done: set[int] = set()
    for start in edges:
        trail: list[int] = []
        on_trail: set[int] = set()
        stack: list[tuple[int, bool]] = [(start, False)]
        while stack:
            name, leaving = stack.pop()
            if leaving:
                trail.pop()
                on_trail.discard(name)
                done.add(name)
            elif name in on_trail:
                return [*trail[trail.index(name) :], name]
            elif name not in done:
                trail.append(name)
                on_trail.add(name)
                stack.append((name, True))
                stack.extend((hop, False) for hop in edges.get(name, ()))
    return []


def distances(links: dict[int, list[tuple[int, int]]], target: int) -> dict[int, int]:
    """Node → cost of the cheapest path to `target`, by Dijkstra. `links`: node → (neighbour, cost)."""
    best = {target: 0}
    heap = [(0, target)]
    while heap:
        metric, name = heappop(heap)
        if metric > best[name]:
            continue
        for neighbour, cost in links[name]:
            if metric + cost < best.get(neighbour, metric + cost + 1):
                best[neighbour] = metric + cost
                heappush(heap, (metric + cost, neighbour))
    return best
