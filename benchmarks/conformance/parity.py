"""Operation counts of the same networks by four counters: neurosparse, plain loops, NeuroBench, SpikingJelly.

make parity         # prints a table, writes docs/results/parity.json

The loops of tests/properties/counting.py visit every pair of an input and a weight. The numbers of the two libraries
come from tests/oracles/counts.json (``make oracles``).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from snntorch import utils
from torch import Tensor, nn

import neurosparse as ns

ROOT = Path(__file__).parents[2]
sys.path[:0] = [
    str(Path(__file__).parent),
    str(ROOT / "tests" / "oracles" / "make"),
    str(ROOT / "tests" / "properties"),
]

import counting  # noqa: E402
import result  # noqa: E402
import zoo  # noqa: E402

PEERS = json.loads((ROOT / "tests" / "oracles" / "counts.json").read_text())
KINDS = ("linear", "conv", "matmul", "embedding")


def calls(case: zoo.Case, part: Tensor) -> list[Tensor]:
    return list(part.unbind(1)) if case.steps else [part]


def ours(case: zoo.Case) -> dict[str, float]:
    """Operations per sample; ``events``, as SpikingJelly counts, skips zeros among spikes and no other zeros."""
    net, all_counts = case.build().eval(), []
    for part in case.data.split(case.batch):
        utils.reset(net)
        with torch.no_grad(), ns.record(net, case.spiking, "steps" if case.steps else None) as tape:
            for x in calls(case, part):
                net(x)
        all_counts.append(ns.count(tape, strict=True))
    rows = [row for row in sum(all_counts[1:], start=all_counts[0]).rows if row["kind"] in KINDS]
    spikes = [row for row in rows if row["input_bits"] == 1]
    total = {
        "dense": sum(row["dense_ops"] for row in rows),
        "effective": sum(row["effective_macs"] + row["effective_acs"] for row in rows),
        "events": sum(row["dense_ops"] for row in rows) - sum(row["skipped_zero_inputs"] for row in spikes),
    }
    return {name: value / len(case.data) for name, value in total.items()}


def by_loops(case: zoo.Case) -> dict[str, float]:
    """Operations per sample, counted pair by pair in plain Python; for 4097 x 4097 ones, by formula."""
    if case.data.numel() > 4000 and not case.steps:
        n = case.data.shape[1]
        return dict.fromkeys(("dense", "effective", "events"), float(n * n))
    net, found = (case.twin or case.build)().eval(), []

    def count(module: Any, inputs: tuple[Tensor, ...]) -> None:
        arrays = [x.detach().numpy() for x in inputs]
        if isinstance(module, zoo.Product):
            found.append((counting.contraction("abij,abjk->abik", *arrays), False))
            return
        weight = module.weight.detach().numpy()
        if isinstance(module, nn.Linear):
            counted = counting.linear(arrays[0], weight)
        else:
            how = {name: getattr(module, name) for name in ("stride", "padding", "dilation", "groups")}
            counted = counting.convolution(
                arrays[0], weight, **how, out_padding=module.output_padding if module.transposed else None
            )
        found.append((counted, module in after))

    products = [m for m in net.modules() if isinstance(m, (nn.Linear, nn.modules.conv._ConvNd, zoo.Product))]
    # Products of spikes: those behind a layer of neurons, and the first one where the input is spikes.
    after = set(products[0 if "input" in case.spiking else 1 :]) if case.spiking else set()
    for module in products:
        module.register_forward_pre_hook(count)
    with torch.no_grad():
        for part in case.data.split(case.batch):
            utils.reset(net)
            for x in calls(case, part):
                net(x)
    total = {
        "dense": sum(counted.dense for counted, _ in found),
        "effective": sum(counted.both for counted, _ in found),
        "events": sum(counted.inputs if binary else counted.dense for counted, binary in found),
    }
    return {name: value / len(case.data) for name, value in total.items()}


def by_peers(name: str) -> dict[str, dict[str, float]]:
    bench, jelly = (PEERS["cases"][name][peer] for peer in ("NeuroBench", "SpikingJelly"))
    return {
        "NeuroBench": {"dense": bench["Dense"], "effective": bench["Effective_MACs"] + bench["Effective_ACs"]},
        "SpikingJelly": {"events": jelly["synops"] + jelly["macs"]},
    }


def row(name: str, case: zoo.Case) -> dict[str, Any]:
    mine = {"network": name, "ours": ours(case), "loops": by_loops(case)}
    return mine | by_peers(name) | {"differs": case.differs or {}}


def agrees(mine: dict[str, float], theirs: dict[str, float]) -> bool:
    return all(abs(mine[name] - value) <= 1e-9 * max(1.0, abs(value)) for name, value in theirs.items())


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| per sample | dense: ours | NeuroBench | effective: ours | NeuroBench | events: ours | SpikingJelly |",
        "| --- | --: | --: | --: | --: | --: | --: |",
    ]
    notes: dict[str, int] = {}
    for each in rows:
        cells = []
        for column, peer in (("dense", "NeuroBench"), ("effective", "NeuroBench"), ("events", "SpikingJelly")):
            same = agrees(each["ours"], {column: each["loops"][column]})
            value = f"{each[peer][column]:,.2f}".rstrip("0").rstrip(".")
            reason = each["differs"].get(peer)
            if reason and not agrees(each["ours"], {column: each[peer][column]}):
                value += f" [{notes.setdefault(reason, len(notes) + 1)}]"
            cells += [f"{each['ours'][column]:,.2f}".rstrip("0").rstrip(".") + ("" if same else " (!)"), value]
        lines.append(f"| {each['network']} | " + " | ".join(cells) + " |")
    wrong = sum(not agrees(each["ours"], each["loops"]) for each in rows)
    lines += ["", f"Of {len(rows)} networks ours differs from the loops over every pair in {wrong}, marked (!)."]
    return "\n".join(lines + [f"[{number}] {reason}." for reason, number in notes.items()])


def main() -> None:
    torch.set_num_threads(1)
    rows = [row(name, case) for name, case in zoo.CASES.items()]
    versions = {**PEERS["versions"], "neurosparse": ns.__version__}
    result.keep("parity", {"versions": versions, "rows": rows})
    print(table(rows))


if __name__ == "__main__":
    main()
