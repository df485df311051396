"""The dashboard is one by Grafana's own schema: nothing in it is unknown there, and no panel lies over another."""

import json
from itertools import combinations

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from tests.ctl.prometheus import DASHBOARD


def by_schema(text: str) -> object:
    """Return what Grafana's schema knows of a dashboard."""
    register_default_plugins()
    return json.loads(JSONEncoder().encode(Dashboard.from_json(json.loads(text))))


def unknown(mine: object, theirs: object, where: str = "") -> list[str]:
    """Return what is in one thing and not in the other."""
    match mine, theirs:
        case dict(), dict():
            return [each for key in mine for each in unknown(mine[key], theirs.get(key), f"{where}.{key}")]
        case list(), list() if len(mine) == len(theirs):
            pairs = enumerate(zip(mine, theirs, strict=True))
            return [each for number, (one, other) in pairs for each in unknown(one, other, f"{where}[{number}]")]
    return [] if mine == theirs else [where]


def test_schema_knows_all_of_the_dashboard() -> None:
    text = DASHBOARD.read_text(encoding="utf-8")
    assert unknown(json.loads(text), by_schema(text)) == []


@pytest.mark.parametrize(("right", "wrong"), [('"gridPos"', '"gridPosition"'), ('"fieldConfig"', '"fields"')])
def test_mistake_in_a_dashboard_is_found(right: str, wrong: str) -> None:
    text = DASHBOARD.read_text(encoding="utf-8").replace(right, wrong, 1)
    (where,) = unknown(json.loads(text), by_schema(text))
    assert where == f".panels[0].{wrong[1:-1]}"


def test_panels_lie_beside_each_other() -> None:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    cells = [
        {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        for at in (panel["gridPos"] for panel in panels)
    ]
    assert all(not one & other for one, other in combinations(cells, 2))
    assert max(x for each in cells for x, _ in each) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)
