"""The README's one table of speed, out of the tables that scripts/update-readme infer and train wrote."""

import re
import sys

NAMES = {
    "resnet18": "ResNet-18", "resnet50": "ResNet-50", "vgg16-bn": "VGG-16-BN", "mobilenet-v2": "MobileNet-V2"}


def rows(text, part):
    """The rows of a generated table, as dictionaries, and where it was measured."""
    body = re.search(rf"<!-- begin {part} .*?-->(.*?)<!-- end {part} -->", text, re.S).group(1)
    lines = [line for line in body.splitlines() if line.startswith("|")]
    heads, *cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(heads, row)) for row in cells[1:]], re.search(r"Measured on .*", body).group(0)


def best(row):
    """The shortest time of a peer."""
    times = {head[: -len(" ms")]: float(value) for head, value in row.items()
             if head.endswith(" ms") and head != "convnet ms" and value != "-"}
    name = min(times, key=times.get)
    return name, times[name]


def main():
    text = open(sys.argv[1], encoding="utf-8").read()
    infer, machine = rows(text, "infer")
    train, other = rows(text, "train")
    if machine != other:
        sys.exit(f"the tables are of two machines: {machine} {other}")
    print("| task | images | threads | convnet ms | best peer ms | | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kind, table in (("answers", infer), ("training step", train)):
        for row in table:
            if row["threads"] != "2":
                continue
            peer, time = best(row)
            own = float(row["convnet ms"])
            name = NAMES.get(row["network"], row["network"])
            size = f", {row['size']}²" if "size" in row else ""
            print(f"| {name}{size}, {kind} | {row['batch']} | 2 | {own:g} | {time:g} | {peer} | {own / time:.2f} |")
    print(f"\n{machine}")


main()
