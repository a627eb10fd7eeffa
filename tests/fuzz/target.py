"""A target: one kind of input, valid examples of it, ways to damage them, and the code that must bear them."""

import dataclasses
import functools
import pathlib
import random
from collections.abc import Callable, Sequence

from tests.fuzz.mutations import Edit, damage
from tests.fuzz.oracle import Ending

__all__ = ["Target"]


@dataclasses.dataclass(frozen=True)
class Target:
    """One kind of input.

    Attributes:
        name: As in `--target`.
        make_seeds: Valid inputs; each ends as a record.
        prepare: Writes into an empty folder what stays the same for every case.
        attempt: Gives the code an input, written wherever it belongs in the folder, and returns how it ended; random
            numbers choose options. Raises `InputError` for a table or folder refused as a whole.
        edits: Damage that knows the form of the input.
        tokens: What means something in this form.
        make_odd: Inputs made by hand, among them all that was once found wrong; used as they are.
        make_heavy: Likewise, those that take a second or more.
        claimed_pixels: Returns how many pixels an input claims, where these are allowed, else 0.
    """

    name: str
    make_seeds: Callable[[], Sequence[bytes]]
    prepare: Callable[[pathlib.Path], object]
    attempt: Callable[[pathlib.Path, bytes, random.Random], Ending]
    edits: tuple[Edit, ...]
    tokens: tuple[bytes, ...] = ()
    make_odd: Callable[[], Sequence[bytes]] = list
    make_heavy: Callable[[], Sequence[bytes]] = list
    claimed_pixels: Callable[[bytes], int] = lambda data: 0

    @functools.cached_property
    def seeds(self) -> Sequence[bytes]:
        """The valid inputs."""
        return tuple(self.make_seeds())

    @functools.cached_property
    def odd(self) -> Sequence[bytes]:
        """The inputs made by hand but for the heavy ones."""
        return tuple(self.make_odd())

    @functools.cached_property
    def heavy(self) -> Sequence[bytes]:
        """The inputs made by hand that take a second or more."""
        return tuple(self.make_heavy())

    def input(self, number: int) -> bytes:
        """Returns the input of a case: 0, 1, ... are damaged ones without end, -1, -2, ... those that are not damaged.

        Raises:
            IndexError: There are not as many.
        """
        if number < 0:
            index = -1 - number
            if index < len(self.seeds):
                return self.seeds[index]
            if index < len(self.seeds) + len(self.odd):
                return self.odd[index - len(self.seeds)]
            return self.heavy[index - len(self.seeds) - len(self.odd)]
        rng = random.Random(f"{self.name} {number}")
        data, style = rng.choice(self.seeds), rng.random()
        if style < 0.65:
            data = rng.choice(self.edits)(rng, data)
        if style > 0.45:
            for _ in range(rng.choice((1, 1, 1, 2, 4))):
                data = damage(rng, data, self.seeds, self.tokens)
        return data

    def undamaged(self, heavy: bool) -> range:
        """Returns the numbers of the inputs that are not damaged; `heavy` takes in those that take long."""
        return range(-1, -1 - len(self.seeds) - len(self.odd) - (len(self.heavy) if heavy else 0), -1)

    def run(self, folder: pathlib.Path, number: int, data: bytes) -> Ending:
        """Runs a case, given its input, in a prepared folder."""
        return self.attempt(folder, data, random.Random(f"{self.name} {number} options"))
