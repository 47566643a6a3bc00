"""Further questions about a model, each a package of its own; importing this registers all of them.

To add one, declare an ``EXAMINATION`` in a new package and name the package here. The order is that of studies.
"""

from numembed.examinations import clusters, generalisation, maps, placement, stress
from numembed.studies.examination import register

for _package in (clusters, placement, generalisation, stress, maps):
    register(_package.EXAMINATION)
