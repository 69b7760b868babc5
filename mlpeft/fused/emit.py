"""The C of a whole function: each kernel once, a call for each time that it runs.

The steps of an inner loop repeat the same kernels on other memory, so the code is as
long as one step, and the calls as many as there are steps.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from mlpeft.fused.loops import c_type

if TYPE_CHECKING:
    from mlpeft.fused.loops import Kernel
    from mlpeft.fused.schedule import Schedule
    from mlpeft.fused.views import Buffer, View

ALIGNMENT = 64
MOST_THREADS = 64
"""Of one call."""
ITEM_BYTES = {"bool": 1, "uint8": 1, "int64": 8}

OUTERMOST = re.compile(r"for \(long i0 = 0; i0 < (\d+); i0\+\+\)")

PREAMBLE = files("mlpeft.fused").joinpath("kernels.h").read_text(encoding="utf-8")

RUN = """
#include <pthread.h>

void set_sgemm(void *library) { sgemm = (Sgemm *)library; }

/* What the threads of a call share: the next task that nobody has, and the one whose
   results are added up next. */
struct shard {
  char *const *in, *const *out;
  const long *step, *size;
  long summed, next, end, turn;
  pthread_mutex_t lock;
  pthread_cond_t moved;
};
struct worker {
  struct shard *shard;
  char *const *spare;
  char *scratch;
};

static void *work(void *argument) {
  const struct worker *own = argument;
  struct shard *s = own->shard;
  const void *inputs[%(inputs)d];
  void *outputs[%(outputs)d];
  for (;;) {
    const long t = __atomic_fetch_add(&s->next, 1, __ATOMIC_RELAXED);
    if (t >= s->end) return 0;
    for (long i = 0; i < %(inputs)d; i++) inputs[i] = s->in[i] + t * s->step[i];
    for (long o = 0; o < %(outputs)d; o++)
      outputs[o] = o >= s->summed ? s->out[o] + t * s->size[o]
                   : t            ? own->spare[o]
                                  : s->out[o];
    task(inputs, outputs, own->scratch);
    if (!s->summed) continue;
    pthread_mutex_lock(&s->lock);
    while (s->turn != t) pthread_cond_wait(&s->moved, &s->lock);
    pthread_mutex_unlock(&s->lock);
    for (long o = 0; t && o < s->summed; o++) {
      float *total = (float *)s->out[o];
      const float *one = (const float *)own->spare[o];
      for (long i = 0; i < s->size[o] / 4; i++) total[i] += one[i];
    }
    pthread_mutex_lock(&s->lock);
    s->turn++;
    pthread_cond_broadcast(&s->moved);
    pthread_mutex_unlock(&s->lock);
  }
}

/* The function for the tasks from `first` to before `end`. `in` and `out` are addresses
   for task 0, and `step` and `size` the bytes to the next; the first `summed` results
   are added up in the tasks' order, to what is there of those before. Each thread has
   room in `spare` for one of each, and `scratch` of its own. */
void run(long first, long end, long threads, char *const *in, const long *step,
         char *const *out, const long *size, long summed, char *const *spare,
         char *scratch) {
  struct shard shard = {in, out, step, size, summed, first, end, first};
  pthread_mutex_init(&shard.lock, 0);
  pthread_cond_init(&shard.moved, 0);
  pthread_t started[%(threads)d];
  struct worker workers[%(threads)d];
  long many = 0;
  for (long k = 0; k < threads; k++)
    workers[k] =
        (struct worker){&shard, spare + k * summed, scratch + k * %(scratch)dL};
  /* Where the system gives fewer threads, these do all the work. */
  while (many + 1 < threads &&
         !pthread_create(&started[many], 0, work, &workers[many + 1]))
    many++;
  work(&workers[0]);
  while (many > 0) pthread_join(started[--many], 0);
  pthread_cond_destroy(&shard.moved);
  pthread_mutex_destroy(&shard.lock);
}

/* One outer step in place: theta -= lr g, with g the mean of what the tasks gave, or
   from that mean to theta. Rounded as by NumPy. Returns the square of its length. */
static double descend(long n, float *theta, float *total, long tasks, float lr,
                      long from_theta) {
  double squares[LANES] = {0}, sum = 0;
  for (long i = 0; i < n; i++) {
    float mean = total[i] / (float)tasks;
    total[i] = (from_theta ? theta[i] - mean : mean) * lr;
    theta[i] -= total[i];
  }
  long i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int l = 0; l < LANES; l++)
      squares[l] += (double)total[i + l] * total[i + l];
  for (; i < n; i++) sum += (double)total[i] * total[i];
  for (int l = 0; l < LANES; l++) sum += squares[l];
  return sum;
}

/* Several meta-iterations: `run` for the tasks of each, and a step of the first
   `summed` inputs, which are theta and are changed. */
void iterate(long turns, const float *lr, long from_theta, double *moved, long tasks,
             long threads, char *const *in, const long *step, char *const *out,
             const long *size, long summed, char *const *spare, char *scratch) {
  char *inputs[%(inputs)d], *outputs[%(outputs)d];
  for (long t = 0; t < turns; t++) {
    for (long i = 0; i < %(inputs)d; i++) inputs[i] = in[i] + t * tasks * step[i];
    for (long o = 0; o < %(outputs)d; o++)
      outputs[o] = out[o] + (o < summed ? 0 : t * tasks * size[o]);
    run(0, tasks, threads, inputs, step, outputs, size, summed, spare, scratch);
    double squares = 0;
    for (long o = 0; o < summed; o++)
      squares += descend(size[o] / 4, (float *)in[o], (float *)out[o], tasks, lr[t],
                         from_theta);
    moved[t] = sqrt(squares);
  }
}
"""


class Source(NamedTuple):
    """C, and the memory that it needs beside its arguments.

    Attributes:
        text: All of it.
        scratch_bytes: Room of a thread for what is neither argument nor result.
        calls_blas: Whether a product is the BLAS library's.
    """

    text: str
    scratch_bytes: int
    calls_blas: bool


def emit(schedule: Schedule, inputs: int) -> Source:
    """The C of a schedule.

    Args:
        schedule: What to run.
        inputs: Arguments, without the constants.
    """
    places, scratch_bytes = _placed(schedule)
    functions: dict[str, str] = {}
    calls = []
    for kernel in schedule.kernels:
        if not kernel.writes:
            continue
        text, *lengths = _function(kernel)
        name = functions.setdefault(text, f"k{len(functions)}")
        addresses = [_address(v, places) for v in (*kernel.reads, *kernel.writes)]
        arguments = [*addresses, *lengths]
        calls.append(f"  {name}({', '.join(arguments)});")
    parts = [
        PREAMBLE,
        *(text.replace("@", name, 1) for text, name in functions.items()),
        "static void task(const void *const *in, void *const *out, char *scratch) {",
        *calls,
        "}",
        RUN
        % {
            "inputs": max(inputs + len(schedule.constants), 1),
            "outputs": max(len(schedule.outputs), 1),
            "scratch": scratch_bytes,
            "threads": MOST_THREADS,
        },
    ]
    calls_blas = any("sgemm(" in text for text in functions)
    return Source("\n".join(parts), scratch_bytes, calls_blas)


def _function(kernel: Kernel) -> list[str]:
    """The C of a kernel, with @ for its name; and the length of its outermost loop.

    That length is an argument, so that kernels that differ in nothing else are one.
    """
    sides = (("const ", "r", kernel.reads), ("", "w", kernel.writes))
    parameters = [
        f"{const}{c_type(view.buffer.dtype)} *restrict {letter}{number}"
        for const, letter, views in sides
        for number, view in enumerate(views)
    ]
    body = kernel.body()
    outermost = OUTERMOST.match(body)
    if outermost is not None:
        body = OUTERMOST.sub("for (long i0 = 0; i0 < n0; i0++)", body, count=1)
        parameters.append("long n0")
    head = f"static __attribute__((noinline)) void @({', '.join(parameters)})"
    lengths = [] if outermost is None else [outermost[1]]
    return [f"{head} {{\n{body}\n}}", *lengths]


def item_bytes(dtype: str) -> int:
    """Bytes of one number."""
    return ITEM_BYTES.get(dtype, 4)


def _address(view: View, places: dict[Buffer, int]) -> str:
    buffer = view.buffer
    start = buffer.place or f"scratch + {places[buffer]}"
    offset = view.offset * item_bytes(buffer.dtype)
    if not offset and buffer.place:
        return start
    constant = "const " if buffer.place.startswith("in") else ""
    return f"({constant}void *)(({constant}char *)({start}) + {offset})"


def _placed(schedule: Schedule) -> tuple[dict[Buffer, int], int]:
    """Where in the scratch memory each buffer is, and its size in bytes.

    A buffer's place is free again after the last kernel that touches it.
    """
    last: dict[Buffer, int] = {}
    for number, kernel in enumerate(schedule.kernels):
        for view in (*kernel.reads, *kernel.writes):
            last[view.buffer] = number
    places: dict[Buffer, int] = {}
    free: list[tuple[int, int]] = []
    end = 0
    for number, kernel in enumerate(schedule.kernels):
        touched = {v.buffer: None for v in (*kernel.reads, *kernel.writes)}
        for buffer in touched:
            if buffer.place or buffer in places:
                continue
            places[buffer], end = _take(free, _room(buffer), end)
        for buffer in touched:
            if last[buffer] == number and not buffer.place:
                _give(free, places[buffer], _room(buffer))
    return places, end


def _room(buffer: Buffer) -> int:
    """Bytes of a buffer, rounded up."""
    size = buffer.size * item_bytes(buffer.dtype)
    return -(-size // ALIGNMENT) * ALIGNMENT


def _take(free: list[tuple[int, int]], size: int, end: int) -> tuple[int, int]:
    """The first gap that is large enough, or the end; and the end after that."""
    for index, (start, room) in enumerate(free):
        if room >= size:
            free[index : index + 1] = [(start + size, room - size)] * (room > size)
            return start, end
    return end, end + size


def _give(free: list[tuple[int, int]], start: int, size: int) -> None:
    """Return a place; neighbouring gaps become one."""
    free.append((start, size))
    free.sort()
    joined = free[:1]
    for gap in free[1:]:
        before, room = joined[-1]
        if before + room == gap[0]:
            joined[-1] = (before, room + gap[1])
        else:
            joined.append(gap)
    free[:] = joined
