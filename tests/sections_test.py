"""A request is made of sections: options by name, filled, checked, written, taken apart."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ldm_jax.errors import InputError
from ldm_jax.sections import Request, RunView, Section, once, options_of, unknown


@dataclass(frozen=True)
class Count(Section):
    """How many."""

    key: ClassVar[str] = "count"
    last: ClassVar[bool] = True
    num: int | None = None
    """images"""

    def fill(self, request, run):
        asked = next((n for n in (one.count() for one in request) if n), 16)
        return self if self.num else replace(self, num=asked)

    def check(self, request, run):
        if self.num < 1:
            raise InputError(f"--num is {self.num}: expected at least 1")


@dataclass(frozen=True)
class Words(Section):
    """What is shown."""

    key: ClassVar[str] = "words"
    word: tuple[str, ...] = ()
    """of each image"""

    def count(self):
        return len(self.word) or None

    def alone(self, request, i):
        return replace(self, word=(self.word[i],))


@dataclass(frozen=True)
class Output(Section):
    """Where it goes."""

    key: ClassVar[str] = "output"
    saved: ClassVar[bool] = False
    out: str | None = None
    """a folder"""


RUN: Any = RunView(Path("run"), None, None, 8, 2, 4)
SECTIONS = Count, Words, Output


def test_a_request_is_filled_the_last_section_by_the_others():
    asked = Request.of(SECTIONS).replace(word=("a", "b")).filled(RUN)
    assert (asked.count.num, asked.words.word) == (2, ("a", "b"))
    assert Request.of(SECTIONS).filled(RUN).count.num == 16
    with pytest.raises(InputError, match="--num is -1"):
        Request.of(SECTIONS).replace(num=-1).filled(RUN)


def test_a_report_has_the_sections_that_decide_the_images():
    asked = Request.of(SECTIONS).replace(num=1, out="x")
    assert asked.as_dict() == {"count": {"num": 1}, "words": {"word": ()}}
    assert asked.options() == {"num": 1, "word": ()}


def test_the_request_of_one_image_has_what_is_its_own():
    asked = Request.of([Words(("a", "b"))])
    assert asked.alone(1) == Request.of([Words(("b",))])
    assert asked != asked.alone(1)


def test_options_are_found_in_their_section():
    with pytest.raises(TypeError, match="no option 'size'"):
        Request.of(SECTIONS).replace(size=3)
    with pytest.raises(AttributeError, match="no section 'walk'"):
        _ = Request.of(SECTIONS).walk
    with pytest.raises(InputError, match="--word 'a' is not what this model takes"):
        unknown({"word": ("a",)}, SECTIONS, RUN)
    assert once([Words, Count, Words]) == (Words, Count)
    assert options_of(Request.of(SECTIONS)).words == Words()
