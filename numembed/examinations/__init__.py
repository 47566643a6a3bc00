"""Further questions about a model, each answered by a package of its own; importing this registers all of them.

To add one, declare its value here; the order is that of studies. The module that it names holds its functions as
``IMPLEMENTATION`` and is imported when they are first needed.
"""

from numembed.studies.examination import Examination, register

for _examination in (
    Examination(
        "grouping",
        verb="explain",
        help="Say what the clusters of each model encode.",
        title="Other ways of grouping {}",
        page="pages/explain.py",
        module="numembed.examinations.clusters.rows",
        with_explanation=True,
    ),
    Examination(
        "landing",
        verb="land",
        help="Show where your own text is placed among the sequences.",
        title="Where a text is placed in {}",
        page="pages/explain.py",
        module="numembed.examinations.placement.text",
        options=("query", "separator"),
    ),
    Examination(
        "probes",
        verb="probe",
        help="Say whether families and attributes can be predicted from the vectors, also for unseen families.",
        title="What {} generalises",
        page="pages/generalise.py",
        module="numembed.examinations.generalisation.text",
    ),
    Examination(
        "stress",
        verb="stress",
        help="Change the sequences in many ways and print how the score changes.",
        title="Stress tests of {}",
        page="pages/robustness.py",
        module="numembed.examinations.stress.text",
    ),
    Examination(
        "maps",
        verb="maps",
        help="Say how far the maps can be trusted.",
        title="How faithful the maps of {} are",
        page="pages/maps.py",
        module="numembed.examinations.maps.text",
    ),
):
    register(_examination)
