"""`lakecube doctor` and `completion`: their options."""

from __future__ import annotations

from typing import Any

from lakecube.arguments.common import add_common, new_command

_DOCTOR_EXAMPLES = """examples:
  lakecube doctor
  lakecube doctor --json                 for an issue report"""
_COMPLETION_EXAMPLES = """examples:
  lakecube completion bash > ~/.local/share/bash-completion/completions/lakecube
  lakecube completion zsh  > "${fpath[1]}/_lakecube"
  lakecube completion fish > ~/.config/fish/completions/lakecube.fish"""


def add_doctor(commands: Any) -> None:
    """`lakecube doctor`."""
    add_common(new_command(commands, "doctor", "what is installed here, and what is missing", _DOCTOR_EXAMPLES))


def add_completion(commands: Any) -> None:
    """`lakecube completion`."""
    command = new_command(
        commands, "completion", "print a script that completes commands with Tab", _COMPLETION_EXAMPLES
    )
    command.add_argument("shell", choices=("bash", "zsh", "fish"), help="your shell")
    add_common(command)
