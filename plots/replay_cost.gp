# What a replay costs by its number of nodes, from gemmark_replay_cost's CSV: on the host and on the GPU.
#
#     gnuplot -e "data='replay_cost.csv'; name='replay_cost'" plots/replay_cost.gp      (format='png': the other format)
#
# Above, the launch call while the GPU is held back; below, the GPU's time a node with all submitted before.

if (!exists("name")) name = 'replay_cost'
height = 760
title_text = 'Replaying a graph: host time a launch, and GPU time a node, by number of nodes'
caption = 'Medians, above a few nodes apart; bars from the 5th to the 95th percentile. The GPU waits at a gate until all is submitted:'."\n".\
	'no submission falls into the lower times, and nothing that runs into the upper ones. Empty kernels with'."\n".\
	'parameters of 32 bytes where nothing else is said; by turns, of 32 and 256.'
# Of the card and the commit, which older files lack; neither has a comma or a quote.
machine = exists("data") ? system("awk -F, 'NR == 2 && NF >= 19 { print $18 \" · commit \" $19 }' \"".data."\"") : ''
if (machine ne '') caption = machine."\n".caption
n_caption = machine ne '' ? 4 : 3
script = ARG0
folder = strstrt(script, '/') > 0 ? system('dirname '.script) : '.'
load folder.'/style.gp'

# The chain and the one with parameters of 256 bytes take the same time: the first wide and with large markers, so that it
# shows around and between the other's dashes.
set style line 1 linetype 1 linecolor rgb color[1] linewidth 4 pointtype shape[1] pointsize 1.4
set linetype 4 dashtype (6,8)
set style line 4 linetype 4 linecolor rgb color[4] linewidth 1.8 pointtype shape[4] pointsize 0.8

set datafile separator ','
set datafile missing NaN
n_lines = 7
array label_of[7] = ['chain', 'chain, programmatic edges', 'two kernels by turns', 'parameters of 256 bytes', \
	'every 10th a copy', '4 branches', 'diamonds']
# shape branches edges kernel params
array key_of[7] = ['chain 1 full empty 32', 'chain 1 pdl empty 32', 'chain 1 full mixed 32', 'chain 1 full empty 256', \
	'copies 1 full empty 32', 'parallel 4 full empty 32', 'diamonds 1 full empty 32']
key_here(x) = strcol(1).' '.strcol(2).' '.strcol(3).' '.strcol(4).' '.strcol(5)
is(i, quantity) = key_here(0) eq key_of[i] && strcol(9) eq 'gated' && strcol(11) eq '0' && strcol(12) eq quantity
nodes(i, quantity) = is(i, quantity) ? column(6) : NaN

do for [i=1:n_lines] {
	column_x = 0.10 + 0.30*((i-1)%3)
	row_y = 1 - px(legend_top + legend_row*((i-1)/3))
	set label 100+i label_of[i] at screen column_x+0.025, row_y left font ',12' front
	set arrow 100+i from screen column_x-0.02, row_y to screen column_x+0.015, row_y nohead linestyle i front
}
set xrange [0:*]
set autoscale xfixmax
set offsets 0, graph 0.02, 0, 0 # the last markers whole
set lmargin at screen 0.10
set rmargin at screen 0.97

set multiplot
set tmargin at screen 1 - px(legend_top + 3*legend_row + 14)
set bmargin at screen 1 - px(400)
set yrange [0:*]
set ylabel 'host, us a launch'
# Side by side, a few nodes apart, so that one's bar does not hide another's.
beside(i) = nodes(i, 'host') + 12*(i - 0.5*(n_lines + 1))
plot for [i=1:n_lines] data using (beside(i)):16:15:17 with yerrorbars linestyle 10+i notitle, \
	for [i=1:n_lines] data using (beside(i)):16 with linespoints linestyle i notitle
unset for [i=1:n_lines] label 100+i
unset for [i=1:n_lines] arrow 100+i
unset label 1
unset label 2
set offsets 0, 0, 0, 0
set xrange [0:GPVAL_X_MAX] # as above
set tmargin at screen 1 - px(440)
set bmargin at screen px(70 + 17*n_caption)
set ylabel 'GPU, us a node'
set xlabel 'nodes'
plot for [i=1:n_lines] data using (nodes(i, 'device')):(column(16)/column(6)):(column(15)/column(6)):(column(17)/column(6)) \
		with yerrorbars linestyle 10+i notitle, \
	for [i=1:n_lines] data using (nodes(i, 'device')):(column(16)/column(6)) with linespoints linestyle i notitle
unset multiplot
unset output
