# SPDX-License-Identifier: LGPL-2.1-or-later
# Makes a C string of a style sheet; comments have lines of their own, and stay out of it.
1i\
#include "cli/report-parts.h"\
const char report_style[] =
/^\/\*/d
s/[\\"]/\\&/g
s/^[[:blank:]]*\(.*\)$/\t"\1\\n"/
$a\
;
