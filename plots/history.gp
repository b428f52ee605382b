# A series over commits, which stand side by side, the same distance apart: values, levels, changes, recalibrations.
#
# Data, three blocks: values (x value min max), levels (x value, two rows each, an empty line between two).
# Needs: data, n_commits, tick_at[], tick_text[], x_text, scale, y_lo, y_hi, y_log, y_text, ytick_at[], ytick_text[],
# n_changes, change_from[], change_to[], change_text[], change_worse[], n_marks, mark_at[], mark_text[].

unset key
set lmargin at screen 0.105
set rmargin at screen 0.975
set tmargin at screen 1 - px(96)
set bmargin at screen px(17*n_caption + 92)

y = 1 - px(legend_top)
set label 101 ' ' at screen 0.115, y point linestyle 11 front
set label 201 'a process' at screen 0.13, y left front
set arrow 102 from screen 0.25, y to screen 0.295, y nohead linestyle 17 linewidth 2.4 front
set label 202 'level' at screen 0.305, y left front
set object 103 rectangle from screen 0.39, y - px(7) to screen 0.415, y + px(7) fillcolor rgb '#55D55E00' fillstyle solid noborder front
set label 203 'worse from here on' at screen 0.425, y left front
set object 104 rectangle from screen 0.62, y - px(7) to screen 0.645, y + px(7) fillcolor rgb '#55009E73' fillstyle solid noborder front
set label 204 'better' at screen 0.655, y left front
if (n_marks) {
	set arrow 105 from screen 0.755, y to screen 0.8, y nohead linecolor rgb '#606060' dashtype '-' linewidth 1.6 front
	set label 205 'recalibration' at screen 0.81, y left front
}

set xrange [-0.6:n_commits - 0.4]
set xlabel x_text offset 0,0.2
set xtics () rotate by 30 right
do for [i=1:|tick_at|] { set xtics add (tick_text[i] tick_at[i]) }

set yrange [y_lo:y_hi]
set label 4 y_text at screen 0.02, 0.5*(1 - px(96 - 17*n_caption - 92)) center rotate front
if (y_log) { set logscale y 10 }
set ytics ()
do for [i=1:|ytick_at|] { set ytics add (ytick_text[i] ytick_at[i]) }

# Somewhere in these commits: from the last one at the old level to the first one at the new.
do for [i=1:n_changes] {
	set object 300+i rectangle from first change_from[i], graph 0 to first change_to[i], graph 1 \
		fillcolor rgb (change_worse[i] ? '#A0D55E00' : '#A0009E73') fillstyle solid noborder behind
	set label 300+i change_text[i] at first 0.5*(change_from[i] + change_to[i]), graph 1 center offset 0,0.5 \
		font ',12' textcolor rgb (change_worse[i] ? '#B04A00' : '#007050') front
}
do for [i=1:n_marks] {
	set arrow 400+i from first mark_at[i], graph 0 to first mark_at[i], graph 1 nohead linecolor rgb '#606060' \
		dashtype '-' linewidth 1.6 back
	if (mark_at[i] > 0.5*n_commits) {
		set label 400+i mark_text[i] at first mark_at[i], graph 0 right offset -0.4,0.6 font ',11' textcolor rgb '#404040' front
	} else {
		set label 400+i mark_text[i] at first mark_at[i], graph 0 left offset 0.4,0.6 font ',11' textcolor rgb '#404040' front
	}
}

plot data index 1 using 1:($2*scale) with lines linetype 1 linecolor rgb color[7] linewidth 2.4, \
	data index 0 using 1:($2*scale):($3*scale):($4*scale) with yerrorbars linestyle 11 linewidth 0.8 pointsize 0.6
unset output
