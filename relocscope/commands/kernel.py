"""`relocscope import`: what a kernel image or ELF file holds of the relocation."""

from pathlib import Path

import click

from relocscope.commands.options import json_option, wants_text, write_json
from traces.replacing import replacing


@click.command(name="import", short_help="Describe the relocation routine of a kernel image.")
@click.argument("image", type=click.Path(path_type=Path))
@click.option("-o", "directory", type=click.Path(path_type=Path), help="Write each routine found there, as NAME.bin.")
@json_option
def import_(image: Path, directory: Path | None, json_path: str | None) -> None:
    """Find and describe the relocation routine in a kernel IMAGE (Image, gzip, EFI zboot) or ELF file."""
    from relocscope.emulate import imported
    from relocscope.progress import Progress
    from traces.errors import InputError

    with Progress(f"searching {image.name}"):
        kernel = imported(image)
    routines = {name: getattr(kernel, name) for name in ("relocate", "soft_restart", "hyp_stub", "kexec_vectors")}
    if directory is not None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"-o: {directory}: cannot be written: {error.strerror}") from None
        for name, routine in routines.items():
            if routine is not None:
                with replacing(directory / f"{name}.bin", "-o") as stream:
                    stream.write(routine.code)
    result = {
        "schema": "relocscope/import/1",
        "path": str(kernel.path),
        "format": kernel.format,
        "version": kernel.version,
        "page_bytes": kernel.page_bytes,
        "protocol": None if kernel.relocate.protocol is None else kernel.relocate.protocol.value,
        "kimage_offsets": dict(kernel.relocate.kimage_offsets),
        "routines": {
            name: None if r is None else {"name": r.name, "sha256": r.sha256, "source": r.source, "bytes": len(r.code)}
            for name, r in routines.items()
        },
        "found": [{"what": f.what, "how": f.how, "offset": f"{f.offset:#x}", "size": f.size} for f in kernel.found],
        "missing": [{"what": m.what, "looked_for": m.looked_for} for m in kernel.missing],
    }
    if wants_text(json_path):
        _show(result)
    write_json(json_path, result)


def _show(result: dict[str, object]) -> None:
    from rich.markup import escape

    from relocscope import render

    out = render.console()
    version = result["version"] or "of unknown version"
    out.print(f"{result['path']}: {result['format']}, Linux {version}, {result['page_bytes']}-byte pages", markup=False)
    table = render.plain_table("routine", "offset", "bytes", "found by", right=(1, 2))
    for row in result["found"]:  # type: ignore[attr-defined]
        table.add_row(escape(row["what"]), row["offset"], str(row["size"]), escape(row["how"]))
    out.print(table)
    for row in result["missing"]:  # type: ignore[attr-defined]
        out.print(f"missing: {row['what']}; looked for {row['looked_for']}", markup=False)
    if result["kimage_offsets"]:
        offsets = ", ".join(f"{k} {v}" for k, v in result["kimage_offsets"].items())  # type: ignore[attr-defined]
        out.print(f"kimage fields read by the routine: {offsets}", markup=False)
