"""The command line: options, the folder of a run, and what a script does with them."""

from typing import TYPE_CHECKING

from jaxnet.runtime.lazy import attach as _attach

if TYPE_CHECKING:
    from jaxnet.cli.command import keep_programs as keep_programs
    from jaxnet.cli.command import run_command as run_command
    from jaxnet.cli.command import together as together
    from jaxnet.cli.command import wanted as wanted
    from jaxnet.cli.commands import run as run
    from jaxnet.cli.compared import read_runs as read_runs
    from jaxnet.cli.compared import write_comparison as write_comparison
    from jaxnet.cli.monitor import compare_file as compare_file
    from jaxnet.cli.monitor import write_reference as write_reference
    from jaxnet.cli.options import AskOptions as AskOptions
    from jaxnet.cli.options import BiasVarianceOptions as BiasVarianceOptions
    from jaxnet.cli.options import CompareOptions as CompareOptions
    from jaxnet.cli.options import LabelsOptions as LabelsOptions
    from jaxnet.cli.options import LearningCurveOptions as LearningCurveOptions
    from jaxnet.cli.options import SeedsOptions as SeedsOptions
    from jaxnet.cli.options import ShiftOptions as ShiftOptions
    from jaxnet.cli.options import SweepOptions as SweepOptions
    from jaxnet.cli.options import TrainOptions as TrainOptions
    from jaxnet.cli.options import build_halving as build_halving
    from jaxnet.cli.options import build_model as build_model
    from jaxnet.cli.options import build_trials as build_trials
    from jaxnet.cli.options import prepared as prepared
    from jaxnet.cli.outputs import MEMBERS as MEMBERS
    from jaxnet.cli.outputs import Setup as Setup
    from jaxnet.cli.outputs import hardest as hardest
    from jaxnet.cli.outputs import listed as listed
    from jaxnet.cli.outputs import report as report
    from jaxnet.cli.outputs import training_members as training_members
    from jaxnet.cli.run_folder import RUNS as RUNS
    from jaxnet.cli.run_folder import begin as begin
    from jaxnet.cli.run_folder import schema as schema
    from jaxnet.cli.runner import main as main
    from jaxnet.cli.runner import training as training
    from jaxnet.runtime.devices import use_platform as use_platform
    from jaxnet.runtime.files import check_folder as check_folder
    from jaxnet.runtime.files import then as then
    from jaxnet.runtime.files import write_text as write_text
    from jaxnet.runtime.files import writing as writing

_NAMES = {
    "jaxnet.cli.command": ("keep_programs", "run_command", "together", "wanted"),
    "jaxnet.cli.commands": ("run",),
    "jaxnet.cli.compared": ("read_runs", "write_comparison"),
    "jaxnet.cli.monitor": ("compare_file", "write_reference"),
    "jaxnet.cli.options": (
        "AskOptions",
        "BiasVarianceOptions",
        "CompareOptions",
        "LabelsOptions",
        "LearningCurveOptions",
        "SeedsOptions",
        "ShiftOptions",
        "SweepOptions",
        "TrainOptions",
        "build_halving",
        "build_model",
        "build_trials",
        "prepared",
    ),
    "jaxnet.cli.outputs": ("MEMBERS", "Setup", "hardest", "listed", "report", "training_members"),
    "jaxnet.cli.run_folder": ("RUNS", "begin", "schema"),
    "jaxnet.cli.runner": ("main", "training"),
    "jaxnet.runtime.devices": ("use_platform",),
    "jaxnet.runtime.files": ("check_folder", "then", "write_text", "writing"),
}
__getattr__, __dir__ = _attach(__name__, _NAMES)
