# SPDX-License-Identifier: LGPL-2.1-or-later
# gnuplot -c plot.gp OUTPUT.svg (DATA TITLE)...    freed memory and CPU time over time
set terminal svg size 900,680 font "sans-serif,13" background "white"
set output ARG1
count = (ARGC - 1) / 2
file(i) = value(sprintf("ARG%d", 2 * i))
name(i) = value(sprintf("ARG%d", 2 * i + 1))

set multiplot layout 2,1
set logscale x
set xrange [0.05:400]
set grid
set key top left
set lmargin 10

set title "Three real guests of 512 MiB, from the moment in which sharing starts"
set ylabel "freed, MiB"
set format x ""
plot for [i=1:count] file(i) using 1:2 with lines linewidth 2 title name(i)

unset title
set ylabel "CPU time, s"
set xlabel "seconds, logarithmic"
set format x "%g"
plot for [i=1:count] file(i) using 1:3 with lines linewidth 2 title name(i)
unset multiplot
