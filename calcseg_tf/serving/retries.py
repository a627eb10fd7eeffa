"""Asking again: a server that restarts or is busy is asked later, at growing distances."""

import dataclasses
import random
import time
from collections.abc import Callable
from typing import TypeVar

from calcseg_tf.serving.transport import ServerError

__all__ = ["Retries"]

_Answer = TypeVar("_Answer")
_LONGEST_WAIT_S = 30.0


@dataclasses.dataclass
class Retries:
    """Repeats requests whose failure may pass, and no others.

    Once a request has used up its repetitions, the next ones get one attempt each until one succeeds: a thousand images
    shall not wait one after another for a server that is gone.

    Attributes:
        most: Repetitions of a request, 0 or more.
        first_wait_s: Seconds before the first repetition; doubled before each further one, up to 30.
        sleep: Waits.
    """

    most: int
    first_wait_s: float = 0.5
    sleep: Callable[[float], None] = time.sleep
    _gone: bool = dataclasses.field(default=False, init=False)

    def call(self, request: Callable[[], _Answer]) -> _Answer:
        """Returns the answer of a request.

        Raises:
            ServerError: Of its last attempt.
        """
        attempt = 0
        while True:
            try:
                answer = request()
                self._gone = False
                return answer
            except ServerError as error:
                if not error.may_pass or self._gone or attempt >= self.most:
                    self._gone = self._gone or error.may_pass
                    raise
                wait_s = min(self.first_wait_s * 2**attempt, _LONGEST_WAIT_S)
                # Apart, so that clients who failed together do not come back together.
                self.sleep(wait_s * random.uniform(0.5, 1.0))
                attempt += 1
