"""Writes results of experiments into an article, between its markers, and copies their figures.

    claims.py RESULTS CATALOG MACHINE

RESULTS holds `list`, the experiments in their order, and NAME.json and NAME.svg of each. Every number comes from
there.
"""
import json
import pathlib
import shutil
import sys

BEGIN, END = "<!-- begin claims (scripts/update-docs) -->", "<!-- end claims -->"


def table(headings, rows):
    def line(cells):
        return "| " + " | ".join(cell.replace("|", "\\|") or " " for cell in cells) + " |"

    return "\n".join([line(headings), "|" + " --- |" * len(headings)] + [line(row) for row in rows])


def section(result, figure):
    """One experiment: the claim, the verdict, the numbers, the figure, how it was made."""
    claim, names = result["claim"], result.get("names")
    parts = [f"### {result['name']}", f"> {claim['text']} ({claim['source']})",
             f"**{result['verdict']['sentence'].replace(': ', ':** ', 1)}"]
    parts.append(table(result["table"]["headings"], result["table"]["rows"]))
    if names:
        parts.append(table(names["headings"], names["rows"]))
    if figure:
        titles = "; ".join(figure["title"] for figure in result["figures"])
        parts.append(f"![{titles}]({figure_name(result)})")
    made = [f"{setting['name']}: {setting['value']}" for setting in result["settings"]]
    seeds = ", ".join(str(seed) for seed in result["seeds"])
    parts.append("\n".join(f"- {line}" for line in made + ([f"seeds: {seeds}"] if seeds else [])))
    return "\n\n".join(parts)


def figure_name(result):
    return f"claim-{result['name']}"


def main():
    results, catalog = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    article = catalog / "TheClaimsMeasured.md"
    text = article.read_text()
    if BEGIN not in text or END not in text:
        sys.exit(f"{article} has no place for the claims")
    resources = catalog / "Resources"
    resources.mkdir(exist_ok=True)
    summary, sections = [], []
    for entry in json.loads((results / "list").read_text()):
        path = results / f"{entry['name']}.json"
        if not path.exists():
            # Said where readers see it, so that nothing goes missing unnoticed.
            summary.append([entry["name"], entry["claim"]["text"], "not measured yet"])
            continue
        result = json.loads(path.read_text())
        if result["scale"] != "full" or 0 < len(result["seeds"]) < 3:
            sys.exit(f"{entry['name']} was run --quick or with fewer than three seeds; its numbers mean little")
        figure = path.with_suffix(".svg")
        if figure.exists():
            shutil.copyfile(figure, resources / f"{figure_name(result)}.svg")
        summary.append([entry["name"], result["claim"]["text"], result["verdict"]["outcome"]])
        sections.append(section(result, figure.exists()))
    body = "\n\n".join(
        [table(["experiment", "claim", "verdict"], summary)] + sections
        + [f"Measured on {sys.argv[3]}."])
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    article.write_text(f"{head}{BEGIN}\n\n{body}\n\n{END}{tail}")


if __name__ == "__main__":
    main()
