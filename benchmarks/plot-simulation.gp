# SPDX-License-Identifier: LGPL-2.1-or-later
# gnuplot -c plot-simulation.gp OUTPUT.svg DATA    time per page and bookkeeping by the number of VMs
set terminal svg size 900,680 font "sans-serif,13" background "white"
set output ARG1

set multiplot layout 2,1
set logscale x
set xrange [8:1250]
set yrange [0:*]
set xtics (10, 100, 1000)
set grid
set lmargin 10

set title "The engine with many VMs, simulated"
set ylabel "first pass, ns per page"
set format x ""
plot ARG2 using 1:2 with linespoints linewidth 2 notitle

unset title
set ylabel "bookkeeping, % of the guests' memory"
set xlabel "VMs, logarithmic"
set format x "%g"
set yrange [0:0.7]
plot ARG2 using 1:3 with linespoints linewidth 2 notitle, 0.6 with lines dashtype 2 title "aim"
unset multiplot
