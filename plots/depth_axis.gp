# Axes of the figures over context depth: log2 with depth 0 set apart on the left; with one depth,
# one place for each mode.
#
# Needs: single, x_lo, x_hi, x_break (NaN: none), x_text, tick_at[], tick_text[], y_lo, y_hi, y_log,
# y_text, ytick_at[], ytick_text[], n_modes, mode_names[], mode_styles[].

n_rows = 1
if (!single) {
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
}
unset key

set lmargin at screen 0.105
set rmargin at screen 0.975
set tmargin at screen 1 - px(legend_top + n_rows*legend_row)
set bmargin at screen px(17*n_caption + 72)

set xrange [x_lo:x_hi]
set xlabel x_text offset 0,0.2
set xtics ()
do for [i=1:|tick_at|] { set xtics add (tick_text[i] tick_at[i]) }
if (x_break == x_break) { set label 3 '//' at x_break, graph 0 center front textcolor rgb '#606060' }

set yrange [y_lo:y_hi]
set label 4 y_text at screen 0.02, 0.5*(1 - px(legend_top + n_rows*legend_row - 17*n_caption - 72)) \
	center rotate front
if (y_log) { set logscale y 10 }
set ytics ()
do for [i=1:|ytick_at|] { set ytics add (ytick_text[i] ytick_at[i]) }

# Modes stand a little beside each other so that their bars do not hide one another.
dodge(i) = single ? 0 : 0.007*(|tick_at| > 8 ? 8.0/|tick_at| : 1)*(x_hi - x_lo)*(i - 0.5*(n_modes + 1))
