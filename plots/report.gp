# A figure of gemmark report: axes, curves and bars. Points, their names and the legend are the page's own, which knows
# from the margins where they are.
#
# Colours are no colours but numbers, '#0100NN', in whose place the page puts those of its light or dark look.
# Needs: width, height, left, right, top, bottom (px), x_lo, x_hi, tick_at[], tick_text[], y_lo, y_hi, y_log,
# ytick_at[], ytick_text[] (none where n_yticks is 0), band, zero (1: across, 2: upright, 0: none), n_series, styles[],
# $curves (x y), $bars (x y dx dy), a block a series each.

set encoding utf8
set terminal svg size width,height font 'sans-serif,12' noenhanced

set lmargin at screen left/real(width)
set rmargin at screen 1 - right/real(width)
set tmargin at screen 1 - top/real(height)
set bmargin at screen bottom/real(height)

unset key
set border (n_yticks ? 3 : 1) linecolor rgb '#010015'
set tics nomirror out scale 0.5 textcolor rgb '#010016'
set xrange [x_lo:x_hi]
set yrange [y_lo:y_hi]
if (y_log) { set logscale y 10 }
set xtics ()
do for [i=1:|tick_at|] { set xtics add (tick_text[i] tick_at[i]) }
if (n_yticks) {
	set grid ytics linetype 1 linecolor rgb '#010014' linewidth 0.7
	set ytics ()
	do for [i=1:n_yticks] { set ytics add (ytick_text[i] ytick_at[i]) }
} else {
	set grid xtics linetype 1 linecolor rgb '#010014' linewidth 0.7
	unset ytics
}
if (band > 0 && zero == 1) {
	set object 1 rectangle from graph 0, first -band to graph 1, first band fillcolor rgb '#010017' fillstyle solid noborder behind
}
if (band > 0 && zero == 2) {
	set object 1 rectangle from first -band, graph 0 to first band, graph 1 fillcolor rgb '#010017' fillstyle solid noborder behind
}
if (zero == 1) { set arrow 1 from graph 0, first 0 to graph 1, first 0 nohead linecolor rgb '#010015' linewidth 1.2 back }
if (zero == 2) { set arrow 1 from first 0, graph 0 to first 0, graph 1 nohead linecolor rgb '#010015' linewidth 1.2 back }

array series[8] = ['#010001', '#010002', '#010003', '#010004', '#010005', '#010006', '#010007', '#010008']
plot for [i=1:n_series] $bars index i-1 using 1:2:3:4 with vectors nohead linetype 1 linewidth 2.2 linecolor rgb series[styles[i]] notitle, \
	for [i=1:n_series] $curves index i-1 using 1:2 with lines linetype 1 linewidth 1.6 linecolor rgb series[styles[i]] notitle
unset output
