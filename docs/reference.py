"""The pages of the reference: settings from pydantic, commands from typer, modules from their files."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crossmodal_peft.config import plugins
from crossmodal_peft.config.settings import Settings

Schema = dict[str, Any]
SETTINGS = """# Settings

Every key of `params.yaml`, generated from the models that check it. Overlays under `workflow/config/`
hold some of these keys and go on top with `--configfile`; what a change runs again:
[Change and reproduce](../reproduce.md).
"""
COLUMNS = "\n| key | type | default | meaning |\n|---|---|---|---|\n"
PYTHON = """# Python

The package by room; [Architecture](../architecture.md) says which room imports from which. What begins
with an underscore, or has no docstring, is left out.

| room | modules |
|---|---|
"""


def pages(root: Path) -> dict[str, str]:
    """Markdown of every generated page, by its name under reference/."""
    rooms = python_pages(root / "src" / "crossmodal_peft")
    return {"settings": settings_page(), "commands": commands_page(), **rooms}


def commands_page() -> str:
    """Every command of crossmodal-peft with its arguments and options."""
    import typer
    from typer.cli import get_docs_for_click
    from typer.main import get_command

    from crossmodal_peft.cli.main import app

    command: Any = get_command(app)
    context = typer.Context(command, info_name="crossmodal-peft")
    for called in command.commands.values():
        called.short_help = (called.help or "").split("\n\n")[0]  # Else typer cuts it short.
    text = get_docs_for_click(obj=command, ctx=context, name="crossmodal-peft", title="Commands")
    return re.sub(r"^((?:crossmodal-peft|snakemake) .+)$", r"`\1`", text, flags=re.MULTILINE)


def settings_page() -> str:
    """Every key of params.yaml: type, default and meaning, by section; then the forms that several share."""
    whole = Settings.model_json_schema()
    forms, shown, text = whole["$defs"], set(), SETTINGS
    for section, schema in whole["properties"].items():
        text += f"\n## {section}\n\n"
        blocks = schema.get("additionalProperties", {})
        if "$ref" in schema:
            shown.add(_target(schema["$ref"]))
            text += _form(_target(schema["$ref"]), forms)
        elif "discriminator" in blocks:
            key = blocks["discriminator"]["propertyName"]
            variants = {n: _target(ref) for n, ref in blocks["discriminator"]["mapping"].items()}
            shown.update(variants.values())
            text += _variants(section, key, variants, forms)
        else:
            text += f"{schema.get('description', '')} Type: {_type(schema)}.\n"
    for target in sorted(forms.keys() - shown, key=_title):
        text += f"\n## {_title(target)}\n\n{_form(target, forms)}"
    return text


def _variants(section: str, key: str, variants: dict[str, str], forms: Schema) -> str:
    """Keys that all variants have alike, once; then those of each variant."""
    first, *others = [forms[target]["properties"] for target in variants.values()]
    common = {n: s for n, s in first.items() if all(other.get(n) == s for other in others)}
    text = f"Blocks by name. `{key}:` in a block says which of these it is. All of them have:\n"
    text += _table({**forms[next(iter(variants.values()))], "properties": common})
    for name, target in variants.items():
        properties = forms[target]["properties"].items()
        own = {n: s for n, s in properties if n not in common and n != key}
        text += f"\n### {section}, `{key}: {name}`\n\n{_about(target, forms[target])}\n"
        text += _table({**forms[target], "properties": own}) if own else ""
    return text


def _form(target: str, forms: Schema) -> str:
    return f"{_about(target, forms[target])}\n{_table(forms[target])}"


def _about(target: str, form: Schema) -> str:
    """The first paragraph of a variant's file, or what the form says of itself."""
    kind, _, name = _title(target).partition(" ")
    return plugins.description(kind, name).split("\n\n")[0] if name else form.get("description", "")


def _table(form: Schema) -> str:
    return COLUMNS + "".join(_rows(form))


def _rows(form: Schema) -> Iterator[str]:
    for name, schema in form["properties"].items():
        default = "required" if name in form.get("required", []) else _value(schema.get("default"))
        about = schema.get("description", "").replace("|", "\\|")
        yield f"| `{name}` | {_type(schema)} | {default} | {about} |\n"


def _value(value: Any) -> str:
    """A default as YAML has it."""
    words = {None: "null", True: "true", False: "false"}
    if isinstance(value, dict | list):
        return f"`{value}`".replace("'", "").replace("None", "null")
    return f"`{words[value] if value is None or isinstance(value, bool) else value}`"


def _type(schema: Schema) -> str:
    """A JSON schema in words: `integer ≥ 1`, one of some words, a form of this page."""
    if "$ref" in schema:
        title = _title(_target(schema["$ref"]))
        return f"[{title}](#{title.lower().replace(' ', '-')})"
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        return " or ".join(dict.fromkeys(_type(choice) for choice in choices))
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if schema.get("type") == "object":
        values = schema.get("additionalProperties")
        return f"by name: {_type(values)}" if isinstance(values, dict) and values else "keys and values"
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    bounds = [f"{sign} {schema[bound]:g}" for bound, sign in signs.items() if bound in schema]
    return " ".join([schema.get("type", "any"), ", ".join(bounds)]).strip()


def _target(ref: str) -> str:
    return ref.rsplit("/", 1)[-1]


def _title(target: str) -> str:
    """`Split` as it is; a variant's settings, which all are `Settings`, by kind and name."""
    *_, kind, name, _ = ["", "", *target.split("__")] if "__" in target else ["", target, ""]
    return f"{kind} {name}".strip()


def python_pages(package: Path) -> dict[str, str]:
    """An index of the rooms, and a page for each with the documentation of its modules."""
    rooms = sorted({path.parent for path in package.rglob("*.py")})
    index, found = PYTHON, {}
    for room in rooms:
        name = ".".join(room.relative_to(package.parent).parts)
        modules = sorted(path for path in room.glob("*.py") if path.stem not in ("__init__", "__main__"))
        about = ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8"))) or ""
        links = [f"[`{path.stem}`](python/{name}.md#{name}.{path.stem})" for path in modules]
        index += f"| [{name}](python/{name}.md) | {', '.join(links)} |\n"
        inside = "".join(f"\n::: {name}.{path.stem}\n" for path in modules)
        found[f"python/{name}"] = f"# {name}\n\n{about}\n{inside}"
    return {"python": index, **found}
