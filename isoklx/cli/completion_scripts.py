"""Completion scripts for bash, zsh and fish."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from isoklx._version import __version__


@dataclass(frozen=True)
class Value:
    """Value of a flag or positional argument."""

    name: str
    words: tuple[str, ...] = ()  # allowed words, if they are few
    several: bool = False  # comma-separated list
    files: bool = False  # may be a path


@dataclass(frozen=True)
class Flag:
    """Flag as written, its description, and its value unless it is a switch."""

    written: str
    about: str
    value: Value | None = None


@dataclass(frozen=True)
class Usage:
    """Command with its description, flags and positional arguments."""

    name: str
    about: str
    flags: tuple[Flag, ...]
    places: tuple[Value, ...]
    variadic: bool = False  # the last place takes all remaining words


BASH = r"""# bash completion for isoklx @version@. Save it as
#   ~/.local/share/bash-completion/completions/isoklx
# and it is loaded on demand. Without the package bash-completion, source it in ~/.bashrc.
_isoklx() {
    local IFS=$' \t\n' flag flags='' words='' files='' several='' head=''
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    local others=" ${COMP_WORDS[*]:1:COMP_CWORD-1} ${COMP_WORDS[*]:COMP_CWORD+1} "
    # In --flag=value, = is a separate word unless COMP_WORDBREAKS was changed.
    if [[ $word == = ]]; then
        word=
    elif [[ $before == = ]]; then
        before=${COMP_WORDS[COMP_CWORD-2]}
    elif [[ $word == --*=* ]]; then
        before=${word%%=*} head=${word%%=*}= word=${word#*=}
    fi
    if ((COMP_CWORD == 1)); then
        words='@commands@ --help --version'
    else
        case "${COMP_WORDS[1]} $before" in
@values@
        *)
            case ${COMP_WORDS[1]} in
@usages@
            esac
            if [[ $word == -* ]]; then
                files='' words=''
                for flag in $flags; do
                    [[ $others == *" $flag "* ]] || words+=" $flag"
                done
            elif ((COMP_CWORD > 2)); then
                words=''
            fi
            ;;
        esac
    fi
    COMPREPLY=()
    if [[ -n $files ]]; then
        if [[ -n $head ]]; then
            IFS=$'\n'
            COMPREPLY=($(compgen -f -P "$head" -- "$word"))
        fi
        return # leave the rest to bash's own file completion
    fi
    compopt +o default 2>/dev/null
    if [[ -n $several ]]; then
        compopt -o nospace 2>/dev/null
        if [[ $word == *,* ]]; then
            head+=${word%,*}, word=${word##*,}
        fi
    fi
    COMPREPLY=($(compgen -W "$words" -P "$head" -- "$word"))
}
complete -o default -F _isoklx isoklx
"""

ZSH = r"""#compdef isoklx
# zsh completion for isoklx @version@. Save it as _isoklx in a folder of $fpath and it is loaded on
# demand, or source it in ~/.zshrc after compinit.
_isoklx() {
  local curcontext=$curcontext state line
  local -a commands
  typeset -A opt_args
  commands=(
@commands@
  )
  _arguments -C \
    '(- *)--help[Explain the commands]' \
    '(- *)--version[Print the version]' \
    '1:command:->command' \
    '*::argument:->argument'
  case $state in
  command) _describe -t commands command commands ;;
  argument)
    curcontext=${curcontext%:*}-$line[1]:
    case $line[1] in
@usages@
    esac
    ;;
  esac
}
if [[ $funcstack[1] == _isoklx ]]; then
  _isoklx "$@"
else
  compdef _isoklx isoklx
fi
"""

FISH = r"""# fish completion for isoklx @version@. Save it as
#   ~/.config/fish/completions/isoklx.fish
# and it is loaded on demand.
function __isoklx_first
    test (count (commandline -opc)) -eq 1
end
function __isoklx_is -a command -a flag
    set -l words (commandline -opc)
    test (count $words) -gt 1; and test "$words[2]" = $command; or return 1
    # Offer a flag once; the word just before the cursor may be a flag that waits for its value.
    test -z "$flag" -o (count $words) -lt 4; or not contains -- $flag $words[3..-2]
end
complete -c isoklx -n __isoklx_first -f
complete -c isoklx -n __isoklx_first -l help -d 'Explain the commands'
complete -c isoklx -n __isoklx_first -l version -d 'Print the version'
@usages@
"""


def bash(usages: Sequence[Usage]) -> str:
    """Return the completion script for bash 3.2 or newer."""
    values = [
        f"        {shlex.quote(f'{usage.name} {flag.written}')}) {_bash_value(flag.value)} ;;"
        for usage in usages
        for flag in usage.flags
        if flag.value is not None
    ]
    places = [
        f"            {usage.name}) {_bash_value(usage.places[0])} flags="
        f"{shlex.quote(' '.join(flag.written for flag in usage.flags))} ;;"
        for usage in usages
    ]
    commands = " ".join(usage.name for usage in usages)
    return _filled(BASH, commands=commands, values="\n".join(values), usages="\n".join(places))


def zsh(usages: Sequence[Usage]) -> str:
    """Return the completion script for zsh."""
    commands = [shlex.quote(f"{usage.name}:{_zsh_text(usage.about)}") for usage in usages]
    arguments = [
        " \\\n        ".join([f"    {usage.name})\n      _arguments", *_zsh_arguments(usage)])
        for usage in usages
    ]
    return _filled(
        ZSH,
        commands="\n".join(f"    {each}" for each in commands),
        usages="\n".join(f"{each}\n      ;;" for each in arguments),
    )


def fish(usages: Sequence[Usage]) -> str:
    """Return the completion script for fish."""
    return _filled(FISH, usages="\n".join(line for usage in usages for line in _fish_lines(usage)))


def _filled(script: str, **parts: str) -> str:
    for name, text in {"version": __version__, **parts}.items():
        script = script.replace(f"@{name}@", text)
    return script


def _bash_value(value: Value) -> str:
    if value.files:
        return "files=1"
    words = f"words={shlex.quote(' '.join(value.words))}"
    return f"{words} several=1" if value.several and value.words else words


def _zsh_arguments(usage: Usage) -> Iterator[str]:
    """Yield the specs for zsh's _arguments, one for each flag and positional argument."""
    for flag in usage.flags:
        about = f"[{_zsh_text(flag.about)}]"
        end = "" if flag.value is None else f"=:{_zsh_value(flag.value)}"
        yield shlex.quote(f"{flag.written}{end[:1]}{about}{end[1:]}")
    for i, value in enumerate(usage.places, 1):
        last = usage.variadic and i == len(usage.places)
        yield shlex.quote(f"{'*' if last else i}:{_zsh_value(value)}")


def _zsh_value(value: Value) -> str:
    """Return the message and action of a value; the action is a space for no completion."""
    if value.files:
        return f"{value.name}:_files"
    words = " ".join(value.words)
    if value.several and words:
        return f"{value.name}:_sequence compadd - {words}"
    return f"{value.name}:({words})" if words else f"{value.name}: "


def _zsh_text(text: str) -> str:
    """Escape the characters that _arguments and _describe interpret."""
    return "".join(f"\\{char}" if char in "\\[]:" else char for char in text)


def _fish_lines(usage: Usage) -> Iterator[str]:
    yield f"complete -c isoklx -n __isoklx_first -a {usage.name} -d {_fish_text(usage.about)}"
    for value in usage.places[:1]:
        if not value.files:
            yield f"complete -c isoklx -n '__isoklx_is {usage.name}' -f"
            first = f"'__isoklx_is {usage.name}; and test (count (commandline -opc)) -eq 2'"
            yield f"complete -c isoklx -n {first} -a {_fish_text(' '.join(value.words))}"
    for flag in usage.flags:
        name = flag.written.removeprefix("--")
        yield (
            f"complete -c isoklx -n '__isoklx_is {usage.name} {flag.written}' -l {name}"
            f"{_fish_value(flag)} -d {_fish_text(flag.about)}"
        )


def _fish_value(flag: Flag) -> str:
    if flag.value is None:
        return ""
    if flag.value.files:
        return " -r -F"
    words = " ".join(flag.value.words)
    if flag.value.several and words:
        return f" -x -a '(__fish_append , {words})'"
    return f" -x -a {_fish_text(words)}" if words else " -x"


def _fish_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
