# Tokens a second against the layers on the GPU, by mode: a column for each depth, one value axis for all.
#
# Data, one block a column and mode, column by column: layers runs median min max.
# Needs: data, n_modes, mode_names[], mode_styles[], n_columns, column_text[], x_text, x_lo, x_hi, tick_at[],
# tick_text[], y_lo, y_hi, y_log, y_text, ytick_at[], ytick_text[].

set multiplot

n_rows = 1
x = 0.105*800
do for [i=1:n_modes] {
	wide = 52 + 8.2*strlen(mode_names[i]) + 22
	if (x + wide > 800 && i > 1) { x = 0.105*800; n_rows = n_rows + 1 }
	y = 1 - px(legend_top + (n_rows - 1)*legend_row)
	set arrow 100+i from screen x/800.0, y to screen (x + 44)/800.0, y nohead linestyle mode_styles[i] front
	set label 100+i ' ' at screen (x + 22)/800.0, y point linestyle 10+mode_styles[i] front
	set label 200+i mode_names[i] at screen (x + 52)/800.0, y left front
	x = x + wide
}
unset key

top = legend_top + n_rows*legend_row + 20   # px
set tmargin at screen 1 - px(top)
set bmargin at screen px(17*n_caption + 72)
set label 4 y_text at screen 0.02, 0.5*(1 - px(top - 17*n_caption - 72)) center rotate front
set label 5 x_text at screen 0.54, px(17*n_caption + 27) center front

set xrange [x_lo:x_hi]
set xtics ()
do for [i=1:|tick_at|] { set xtics add (tick_text[i] tick_at[i]) }
set yrange [y_lo:y_hi]
if (y_log) { set logscale y 10 }

# Modes stand a little beside each other so that their bars do not hide one another.
dodge(i) = 0.007*n_columns*(x_hi - x_lo)*(i - 0.5*(n_modes + 1))

width = 0.87/n_columns
do for [c=1:n_columns] {
	set lmargin at screen 0.105 + width*(c-1) + (c > 1 ? 0.012 : 0)
	set rmargin at screen 0.105 + width*c - (c < n_columns ? 0.012 : 0)
	set label 3 column_text[c] at graph 0.5, graph 1 center offset 0,0.7 front
	set ytics ()
	do for [i=1:|ytick_at|] { set ytics add ((c == 1 ? ytick_text[i] : '') ytick_at[i]) }
	b = (c-1)*n_modes
	plot for [i=1:n_modes] data index b+i-1 using ($1+dodge(i)):3:4:5 \
			with yerrorbars linestyle 10+mode_styles[i] notitle, \
		for [i=1:n_modes] data index b+i-1 using ($1+dodge(i)):3 \
			with linespoints linestyle mode_styles[i] notitle
	if (c == 1) {
		do for [i=1:2] { unset label i }
		do for [i=4:5] { unset label i }
		do for [i=1:n_modes] { unset arrow 100+i; unset label 100+i; unset label 200+i }
	}
}
unset multiplot
unset output
