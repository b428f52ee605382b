# Latency of each token of one run: a row for each mode, a column for each depth.
#
# Data, one block a panel, column by column: token (0 is the first measured), itl in microseconds, event.
# Needs: data, n_modes, mode_names[], mode_styles[], n_columns, column_text[], scale[], y_text[], y_lo[],
# y_hi[], y_log[], reference[] (direct's median in microseconds, NaN: none), warm (most warm-up tokens of
# a run), x_hi, and ytick_at_1[], ytick_text_1[], the same with 2 (as in depth_axis.gp).

capture = 1; update = 2; fallback = 4   # the numbers in the data's third column
top = 84; gap = 24; row = 84            # px

set multiplot

y = 1 - px(legend_top)
set label 11 ' ' at screen 0.045, y point pointtype 9 pointsize 1 linecolor rgb '#000000' front
set label 12 'capture' at screen 0.06, y left front
set label 13 ' ' at screen 0.205, y point pointtype 6 pointsize 0.5 linecolor rgb '#000000' front
set label 14 'update' at screen 0.22, y left front
set label 15 ' ' at screen 0.355, y point pointtype 2 pointsize 1.1 linewidth 2 linecolor rgb '#000000' front
set label 16 'fallback' at screen 0.37, y left front
set arrow 14 from screen 0.51, y to screen 0.55, y nohead linecolor rgb '#606060' dashtype '.' linewidth 1.4 front
set label 17 'median of direct' at screen 0.56, y left front
set object 15 rectangle from screen 0.78, y-px(7) to screen 0.82, y+px(7) \
	fillcolor rgb '#e6e6e6' fillstyle solid noborder front
set label 18 'warm-up' at screen 0.83, y left front

unset key
set xrange [-warm-0.5:x_hi]
do for [c=1:n_columns] {
	width = 0.98/n_columns
	left = 0.02 + width*(c-1)
	set lmargin at screen left + (n_columns == 1 ? 0.075 : 0.085)
	set rmargin at screen left + width - 0.015
	set yrange [y_lo[c]:y_hi[c]]
	if (y_log[c]) { set logscale y 10 } else { unset logscale y }
	set ytics ()
	if (c == 1) {
		do for [i=1:|ytick_at_1|] { set ytics add (ytick_text_1[i] ytick_at_1[i]) }
	} else {
		do for [i=1:|ytick_at_2|] { set ytics add (ytick_text_2[i] ytick_at_2[i]) }
	}
	do for [m=1:n_modes] {
		set tmargin at screen 1 - px(top + (m-1)*(row + gap))
		set bmargin at screen 1 - px(top + (m-1)*(row + gap) + row)
		if (m == n_modes) {
			set xtics format '%g'
			set xlabel 'token of the run (0: first measured)' offset 0,0.3
			set label 4 y_text[c] at screen left + 0.013, \
				1 - px(top + 0.5*(n_modes*(row + gap) - gap)) center rotate front
		} else {
			set xtics format ''
			unset xlabel
			unset label 4
		}
		set label 3 mode_names[m].', '.column_text[c] at graph 0, graph 1 left offset 0.2,0.55 \
			textcolor rgb color[mode_styles[m]] front
		if (warm > 0) {
			set object 1 rectangle from graph 0, graph 0 to first -0.5, graph 1 \
				fillcolor rgb '#e6e6e6' fillstyle solid noborder behind
		}
		b = (c-1)*n_modes + m - 1
		plot reference[c]*scale[c] with lines linecolor rgb '#606060' dashtype '.' linewidth 1.4, \
			data index b using 1:($2*scale[c]) with lines linestyle 10+mode_styles[m] linewidth 1.2, \
			data index b using 1:($3 == update ? $2*scale[c] : NaN) \
				with points pointtype 6 pointsize 0.35 linecolor rgb '#000000' linewidth 0.6, \
			data index b using 1:($3 == capture ? $2*scale[c] : NaN) \
				with points pointtype 9 pointsize 1 linecolor rgb '#000000', \
			data index b using 1:($3 == fallback ? $2*scale[c] : NaN) \
				with points pointtype 2 pointsize 1.1 linewidth 2 linecolor rgb '#000000'
		if (m == 1 && c == 1) {
			do for [i=1:2] { unset label i }
			do for [i=11:18] { unset label i }
			unset arrow 14
			unset object 15
		}
	}
}
unset multiplot
unset output
