"""Claims about every key of params.yaml: what is wrong is refused by its key, what is right is taken."""

from itertools import islice

import mutations

SAMPLE = 23  # Every so many; all: python tests/config/mutations.py


def test_every_key_is_mutated_in_at_least_25_ways():
    ways: dict[tuple[str, ...], int] = {}
    for mutation in mutations.mutations():
        ways[mutation.path] = ways.get(mutation.path, 0) + 1
    assert min(ways.values()) >= 25 and len(ways) > 300


def test_a_mutation_is_refused_in_one_line_by_its_key_unless_it_is_right():
    sample = list(islice(mutations.mutations(), 0, None, SAMPLE))
    assert [f"{m} {said}" for m in sample if (said := mutations.complaint(m))] == []
    judged = [mutations.is_right(mutation) for mutation in sample]
    assert any(judged) and not all(judged)
