"""`relocscope completion` and `relocscope man`: what a shell and man(1) are given."""

import click

from relocscope.commands.options import json_option, wants_text, write_json
from relocscope.versions import own_version

SHELLS = ("bash", "zsh", "fish")

# click's own takes bash's words, which end at each = and :, for those of the command; and puts a space behind KEY=.
_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' line="${COMP_LINE:0:COMP_POINT}" type value
    local -a words
    IFS=$' \\t' read -r -a words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    local word="${words[-1]}"
    local before="${word%%"${word##*[=:]}"}"
    while IFS=',' read -r type value; do
        if [[ $type == file || $type == dir ]]; then
            compopt -o default
        elif [[ $type == plain ]]; then
            COMPREPLY+=("${value#"$before"}")
            [[ $value == *= ]] && compopt -o nospace
        fi
    done < <(env COMP_WORDS="$line" COMP_CWORD=$((${#words[@]} - 1)) %(complete_var)s=bash_complete "$1")
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


@click.command(short_help="Print a script that completes commands in a shell.")
@click.argument("shell", type=click.Choice(SHELLS))
@json_option
@click.pass_context
def completion(context: click.Context, shell: str, json_path: str | None) -> None:
    """Print a script that completes commands, options, and the names of cases, cores, plans and keys.

    bash: relocscope completion bash > ~/.local/share/bash-completion/completions/relocscope; zsh: into a file named
    _relocscope of a directory in $fpath; fish: > ~/.config/fish/completions/relocscope.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:  # click knows all of SHELLS
        raise click.UsageError(f"{shell}: this click completes nothing there")
    root = context.find_root()
    complete = kind(root.command, {}, "relocscope", "_RELOCSCOPE_COMPLETE")
    script = (_BASH if shell == "bash" else complete.source_template) % complete.source_vars()
    if wants_text(json_path):
        click.echo(script)
    write_json(json_path, {"schema": "relocscope/completion/1", "shell": shell, "script": script})


@click.command(short_help="Print the man page.")
@json_option
@click.pass_context
def man(context: click.Context, json_path: str | None) -> None:
    """Print every command and option as a man page, for man -l -; JSON has them as objects.

    relocscope man > ~/.local/share/man/man1/relocscope.1 installs it.
    """
    from relocscope.manual import man_page, manual

    root = context.find_root().command
    if not isinstance(root, click.Group):
        raise click.UsageError("man: is a command of relocscope")
    entries = manual(root)
    if wants_text(json_path):
        click.echo(man_page(entries, own_version()), nl=False)
    write_json(json_path, {"schema": "relocscope/man/1", "version": own_version(), "commands": entries})
