"""Parts of Dask graphs that stay symbolic: what they take does not grow with the number of blocks.

A wave asks each layer of a graph for the tasks that it needs (`lakecube.store.waves`). Layers that hold all their
tasks cost time and memory by the whole request, and are searched whole for every wave; these make a task when it is
asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from dask._task_spec import GraphNode
from dask.highlevelgraph import Layer, MaterializedLayer
from dask.layers import ArrayBlockwiseDep

Key = tuple[Any, ...]


def keys_of(name: str, *members: Iterable[Any]) -> Iterator[Key]:
    """All keys of this name."""
    return product((name,), *members)


class MadeLayer(Layer):
    """Tasks by `make`, each from its key alone; `keys` lists all keys for whoever wants the whole graph.

    `names` are the first members of its keys: the name of the layer, and of tasks inside of it.
    """

    has_legacy_tasks = False

    def __init__(
        self, names: Collection[str], make: Callable[[Key], GraphNode], keys: Callable[[], Iterator[Key]]
    ) -> None:
        super().__init__()
        self.names, self.make, self.every = frozenset(names), make, keys

    def __getitem__(self, key: Any) -> GraphNode:
        if key not in self:
            raise KeyError(key)
        return self.make(key)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, tuple) and key[0] in self.names

    def __iter__(self) -> Iterator[Key]:
        return self.every()

    def __len__(self) -> int:
        return sum(1 for _ in self.every())

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled are the tasks: what makes them may be a closure."""
        return MaterializedLayer, ({key: self.make(key) for key in self.every()}, self.annotations)

    def is_materialized(self) -> bool:
        """Whether all tasks are held: never."""
        return False

    def get_output_keys(self) -> set[Key]:
        """All keys."""
        return set(self.every())

    def cull(self, keys: Collection[Any], all_hlg_keys: Collection[Any]) -> tuple[Layer, Mapping[Any, set[Any]]]:
        """The tasks of this layer that `keys` need, and no others are made."""
        tasks: dict[Key, GraphNode] = {}
        wanted = [key for key in keys if key in self]
        while wanted:
            key = wanted.pop()
            if key not in tasks:
                tasks[key] = self.make(key)
                wanted += [other for other in tasks[key].dependencies if other in self]
        layer = MaterializedLayer(tasks, annotations=self.annotations)
        return layer, {key: set(task.dependencies) for key, task in tasks.items()}


class PerChunk(ArrayBlockwiseDep):
    """Values by chunk of one dim, whose token is known: Dask asks for it per layer, and would print all of them."""

    def __init__(self, sizes: tuple[int, ...], values: list[Any], token: str) -> None:
        super().__init__((sizes,))
        self.values, self.token = values, token

    def __getitem__(self, index: tuple[int, ...]) -> Any:
        return self.values[index[0]]

    def __dask_tokenize__(self) -> str:
        return self.token
