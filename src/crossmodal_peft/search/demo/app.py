"""The script that Streamlit runs: `crossmodal-peft demo`.

Its argument: `paths` as JSON. Or: `paths` as given to the command, a trained model, and a folder indexed
with it (empty: the only one).
"""

import sys

import streamlit as st

from crossmodal_peft.search.demo import hardest, own_files, results, searching

st.set_page_config("crossmodal-peft", ":material/search:", layout="wide")
if len(sys.argv) > 2:
    own_files.page(sys.argv[2], sys.argv[3] or None, sys.argv[1])
    st.stop()
st.navigation(
    [
        st.Page(searching.page, title="Search", icon=":material/search:", url_path="search", default=True),
        st.Page(results.page, title="Results", icon=":material/table_chart:", url_path="results"),
        st.Page(hardest.page, title="Hardest queries", icon=":material/help:", url_path="hardest"),
    ]
).run()
