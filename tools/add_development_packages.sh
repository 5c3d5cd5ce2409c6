#!/usr/bin/env bash
# Let a virtual environment see the packages of another one, behind its own.
# Usage: tools/add_development_packages.sh PYTHON-OF-THE-VENV PYTHON-OF-THE-OTHER
set -euo pipefail
purelib() { "$1" -c "import sysconfig; print(sysconfig.get_path('purelib'))"; }
echo "import site; site.addsitedir('$(purelib "$2")')" >"$(purelib "$1")/development.pth"
