"""Calibrations: simulations that show how often a statement is wrong where nothing is there."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as xml
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import Figure

_ROOT = Path(__file__).parents[1]


def calibration() -> list[Figure]:
    """How often p-values, intervals and sentences are wrong on simulated data: which of the campaign's tests hold."""
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = (sys.executable, "-m", "pytest", "-q", "-m", "campaign", "tests", f"--junitxml={report}")
        subprocess.run(command, cwd=_ROOT, check=False)
        cases = list(xml.parse(report).getroot().iter("testcase"))
    held = [case for case in cases if not len(case)]
    return [Figure(f"calibrations that hold, of {len(cases)}", len(held) / max(len(cases), 1), 1)]
