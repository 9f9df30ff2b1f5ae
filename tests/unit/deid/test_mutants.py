"""Damaged files end released, held or rejected: none ends a process, none is forgotten. `make bench` tries thousands."""

from __future__ import annotations

from pathlib import Path

from tests.mutants import mutants, survive


def test_the_same_seed_makes_the_same_damage_in_every_way(tmp_path: Path) -> None:
    made = list(mutants(100, 3, tmp_path))
    assert made == list(mutants(100, 3, tmp_path))
    assert {name.rpartition("-")[2] for name, _ in made} == {"flip", "cut", "relength", "duplicate", "swap"}


def test_every_mutant_has_one_answer_and_none_ends_its_process(tmp_path: Path) -> None:
    survived = survive(300, tmp_path, seed=11)
    assert survived.unanswered == 0
    assert survived.never == []
    assert survived.counts.total() == 300
    assert {outcome for outcome, _ in survived.counts} == {"released", "held", "rejected"}
