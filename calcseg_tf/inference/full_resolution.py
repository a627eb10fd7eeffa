"""What the ways to predict whole images have in common: they go step by step, in memory that a step bounds."""

import abc
from typing import Any

import tensorflow as tf

__all__ = ["FullResolution"]


class FullResolution(abc.ABC):
    """Maps images of any size to logits, in TensorFlow operations alone, step by step.

    `Plan` and `State` are nests of tensors: plain ones go from one `tf.function` to the next, so that a caller may run
    the steps itself and show progress, or leave the loop to the graph (`whole`).
    """

    @abc.abstractmethod
    def plan(self, image: tf.Tensor) -> Any:
        """Prepares all steps for images float32 [batch, height, width, 1] in [0, 1]."""

    @abc.abstractmethod
    def begin(self) -> Any:
        """Returns the state before the first step."""

    @abc.abstractmethod
    def state_shapes(self) -> Any:
        """Returns what all states have in common, a nest of `tf.TensorShape`."""

    @abc.abstractmethod
    def unfinished(self, plan: Any, state: Any) -> tf.Tensor:
        """Tells whether steps are left, a bool scalar."""

    @abc.abstractmethod
    def step(self, plan: Any, state: Any) -> tuple[tf.Tensor, Any]:
        """Does one step: a part of the answer, to be joined to the others along its first axis, and the next state."""

    @abc.abstractmethod
    def rows_done(self, plan: Any, state: Any) -> tf.Tensor:
        """Tells how many rows of the image the steps so far were, for progress; an int32 scalar."""

    @abc.abstractmethod
    def assemble(self, plan: Any, parts: tf.Tensor) -> tf.Tensor:
        """Makes logits float32 [batch, height, width, 1] of all parts, joined along their first axis."""

    @property
    @abc.abstractmethod
    def part_shape(self) -> tf.TensorShape:
        """What the parts of all steps have in common."""

    def whole(self, image: tf.Tensor) -> tf.Tensor:
        """Predicts images of any size in memory that does not grow with them, but for input and output.

        Args:
            image: float32 [batch, height, width, 1] in [0, 1].

        Returns:
            Logits of the same shape.
        """
        plan = self.plan(image)
        parts = tf.TensorArray(tf.float32, size=0, dynamic_size=True, infer_shape=False, element_shape=self.part_shape)

        def step(number: tf.Tensor, state: Any, parts: tf.TensorArray) -> tuple[tf.Tensor, Any, tf.TensorArray]:
            part, state = self.step(plan, state)
            return number + 1, state, parts.write(number, part)

        number, _, parts = tf.while_loop(
            lambda _, state, __: self.unfinished(plan, state),
            step,
            (tf.constant(0), self.begin(), parts),
            shape_invariants=(tf.TensorShape([]), self.state_shapes(), tf.TensorShape(None)),
            parallel_iterations=1,
        )
        return self.assemble(plan, tf.cond(number > 0, parts.concat, self.no_parts))

    def no_parts(self) -> tf.Tensor:
        """Returns what joins no part: an image may need no step."""
        return tf.zeros([0, *(size or 0 for size in self.part_shape[1:])])
