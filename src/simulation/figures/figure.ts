import { join } from 'node:path'
import { Resvg } from '@resvg/resvg-js'
import { type EChartsOption, init, setPlatformAPI } from 'echarts'

/** A picture of results. */
export interface Figure {
  /** of its files, without an ending: letters, digits, `.`, `_` and `-` */
  readonly name: string
  /** one sentence: what is shown, of what, and what marks and bands mean */
  readonly caption: string
  readonly widthPx: number
  readonly heightPx: number
  readonly option: EChartsOption
}

/** In SVG, for machines that have it; PNG is drawn with the copy beside this file. */
export const FONT_FAMILY = "'DejaVu Sans', Verdana, Helvetica, Arial, sans-serif"
const FONTS = ['DejaVuSans.ttf', 'DejaVuSans-Bold.ttf'].map((file) => join(import.meta.dirname, 'fonts', file))
/** Mean width of a letter of the font, in its size: enough to lay out legends and labels where nothing can measure text. */
export const LETTER_WIDTH = 0.61
setPlatformAPI({
  measureText: (text, font) => ({
    width: text.length * LETTER_WIDTH * Number(/(\d+(?:\.\d+)?)px/.exec(font ?? '')?.[1] ?? 12),
  }),
})
/** Pixels of a PNG for one of a figure: 300 dots an inch at the width of two columns. */
const PNG_ZOOM = 3

/** ECharts counts its charts in the names of parts: without that equal figures are equal files. */
const renamed = (svg: string): string =>
  svg
    .replace(/(<[^<>]*) class="zr\d+-cls-\d+"/g, '$1')
    .replace(/<style\s*>\s*<!\[CDATA\[[^]*?\]\]>\s*<\/style>/g, '')
    .replace(/( id="|url\(#)zr\d+-/g, '$1')

/** The figure as SVG; equal figures give equal text. */
export const renderSvg = ({ option, widthPx, heightPx }: Figure): string => {
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: widthPx, height: heightPx })
  try {
    chart.setOption({
      animation: false,
      backgroundColor: '#ffffff',
      textStyle: { fontFamily: FONT_FAMILY },
      ...option,
    })
    return renamed(chart.renderToSVGString())
  } finally {
    chart.dispose()
  }
}

/** An SVG as PNG, the same on every machine: no font is taken from it. */
export const renderPng = (svg: string): Uint8Array =>
  new Resvg(svg, {
    fitTo: { mode: 'zoom', value: PNG_ZOOM },
    font: {
      loadSystemFonts: false,
      fontFiles: FONTS,
      defaultFontFamily: 'DejaVu Sans',
      sansSerifFamily: 'DejaVu Sans',
    },
  })
    .render()
    .asPng()
