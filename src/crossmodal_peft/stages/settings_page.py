"""The settings page of the report."""

from pathlib import Path
from typing import Any


def write_settings_page(settings: dict[str, Any], out: Path) -> None:
    """Show settings as an HTML page."""
    import yaml

    from crossmodal_peft.report import html

    shown = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    html.write(f"# Settings\n\n```yaml\n{shown}```\n", "settings", out)
