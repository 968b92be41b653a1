"""The queries that every method finds hard, and what was retrieved instead."""

import pandas as pd

from crossmodal_peft.retrieval.captions import captions

PER_DIRECTION = 5


def hardest_queries(queries: pd.DataFrame, manifests: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The queries with the worst mean rank of their first relevant item over all methods and seeds.

    `queries`: rows of all cells (dataset, direction, query, first_rank, retrieved). `manifests`: accepted
    rows by dataset; positions are row numbers. Returns columns dataset, direction, query, caption, mean_rank,
    instead (the item most often ranked first), instead_caption, share (of the cells that ranked it first).
    """
    tables = [
        _of_direction(part, manifests[str(dataset)]).assign(dataset=str(dataset), direction=str(direction))
        for (dataset, direction), part in queries.groupby(["dataset", "direction"], sort=False)
    ]
    columns = ["dataset", "direction", "query", "caption", "mean_rank", "instead", "instead_caption", "share"]
    return pd.concat(tables, ignore_index=True)[columns]


def _of_direction(part: pd.DataFrame, manifest: pd.DataFrame) -> pd.DataFrame:
    source, caption = manifest["source"].to_numpy(), captions(manifest).to_numpy()
    part = part.assign(first=part["retrieved"].str[0])
    worst = part.groupby("query")["first_rank"].mean().sort_values(ascending=False, kind="stable")
    rows = []
    for query in worst.index[:PER_DIRECTION].to_list():
        firsts = part.loc[part["query"] == query, "first"].value_counts(normalize=True)
        instead = int(firsts.index[0])
        rows.append(
            {
                "query": source[query],
                "caption": caption[query],
                "mean_rank": worst[query],
                "instead": source[instead],
                "instead_caption": caption[instead],
                "share": firsts.iloc[0],
            }
        )
    return pd.DataFrame(rows)
