"""One test over many cases: all are tried, and those that fail are named."""

from collections.abc import Callable, Iterable
from typing import Any

Check = Callable[[Any], None]


def for_each(cases: Iterable[Any], names: Callable[[Any], object] = str) -> Callable[[Check], Callable[[], None]]:
    """Make one test of a check of one case; `names` gives what a failure is told by."""
    tried = tuple(cases)
    assert tried, "there is no case"

    def decorate(check: Check) -> Callable[[], None]:
        def test() -> None:
            failed, first = [], None
            for case in tried:
                try:
                    check(case)
                except Exception as error:
                    failed, first = [*failed, f"{names(case)}: {error}"], first or error
            if failed:
                raise AssertionError(
                    f"{len(failed)} of {len(tried)} cases failed.\n" + "\n".join(failed)
                ) from first

        test.__name__, test.__doc__, test.__module__ = check.__name__, check.__doc__, check.__module__
        return test

    return decorate
