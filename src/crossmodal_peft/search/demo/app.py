"""The script that Streamlit runs: `crossmodal-peft demo`. Its argument: `paths` as JSON."""

import streamlit as st

from crossmodal_peft.search.demo import hardest, results, searching

st.set_page_config("crossmodal-peft", ":material/search:", layout="wide")
st.navigation(
    [
        st.Page(searching.page, title="Search", icon=":material/search:", url_path="search", default=True),
        st.Page(results.page, title="Results", icon=":material/table_chart:", url_path="results"),
        st.Page(hardest.page, title="Hardest queries", icon=":material/help:", url_path="hardest"),
    ]
).run()
