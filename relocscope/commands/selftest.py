"""`relocscope doctor`: whether the engines do here what the model builds on."""

import click

from relocscope.commands.options import json_option, wants_text, write_json
from relocscope.terminal import say


@click.command(short_help="Test the engines that Relocscope stands on.")
@json_option
def doctor(json_path: str | None) -> int:
    """Test the engines that Relocscope stands on; the status is 1 where one fails."""
    from relocscope.doctor import examine
    from relocscope.progress import Progress
    from relocscope.versions import components, own_version

    with Progress("testing the engines"):
        findings = examine()
    if wants_text(json_path):
        for finding in findings:
            say(f"{'ok  ' if finding.ok else 'FAIL'} {finding.name}: {finding.detail}")
    rows = [{"name": f.name, "ok": f.ok, "detail": f.detail} for f in findings]
    result = {"schema": "relocscope/doctor/1", "version": own_version(), "components": components(), "checks": rows}
    write_json(json_path, result)
    return 0 if all(finding.ok for finding in findings) else 1
