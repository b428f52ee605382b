# What every figure shares: terminal, colours, title and caption.
#
# `gemmark plot` writes the variables above this text. To redraw after a change:
#     gnuplot -e "format='svg'" NAME.gp
#
# Needs: name, height (px at 800 px width), title_text, caption (lines joined), n_caption.

if (!exists("format")) format = 'svg'
set encoding utf8

if (format eq 'svg') {
	set terminal svg size 800,height font 'sans-serif,13' noenhanced background '#ffffff'
} else {
	# Twice the pixels: sharp on dense screens, legible when shown 800 px wide. A point is 4/3 px here.
	if (strstrt(GPVAL_TERMINALS, 'pngcairo') > 0) {
		set terminal pngcairo size 1600,2*height font 'Sans,13' fontscale 1.5 linewidth 2 pointscale 2 \
			noenhanced background '#ffffff'
	} else {
		set terminal png truecolor size 1600,2*height font 'Sans,13' fontscale 1.5 linewidth 2 pointscale 2 \
			noenhanced background '#ffffff'
	}
}
if (!exists("to_stdout")) { set output name.'.'.format }

# Okabe and Ito's palette: told apart by colour-blind readers; shape and dash differ as well.
array color[8] = ['#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000', '#7F7F7F']
array shape[8] = [7, 5, 9, 13, 11, 6, 4, 8]
set linetype 1 dashtype 1
set linetype 2 dashtype '-'
set linetype 3 dashtype '-.'
set linetype 4 dashtype '.'
set linetype 5 dashtype '_'
set linetype 6 dashtype '-..'
set linetype 7 dashtype '_.'
set linetype 8 dashtype '_..'
do for [i=1:8] {
	set style line i linetype i linecolor rgb color[i] linewidth 1.8 pointtype shape[i] pointsize 0.9
	set style line 10+i linetype 1 linecolor rgb color[i] linewidth 1.8 pointtype shape[i] pointsize 0.9
}
set style line 20 linecolor rgb '#d9d9d9' linewidth 0.6 dashtype 1

px(y) = y/real(height)
set label 1 title_text at screen 0.02, 1-px(20) left font ',16' front
set label 2 caption at screen 0.02, px(17*n_caption-4) left font ',12' textcolor rgb '#404040' front
set border 3 linecolor rgb '#606060'
set tics nomirror out scale 0.6 textcolor rgb '#202020'
set grid ytics linestyle 20
set style fill solid 0.35 border

# A legend above the plot, entry by entry: gnuplot's own key wraps differently in each terminal.
legend_top = 46   # px, the first row's centre
legend_row = 20
