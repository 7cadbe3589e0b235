import type { Taint, Toleration } from './objects.ts'

/**
 * Whether one toleration covers one taint, as kube-scheduler 1.37 reads it: no effect means every effect, no key every key,
 * no operator Equal. Lt and Gt cover nothing (their feature gate is off by default), nor does an unknown operator.
 */
export const toleratesTaint = (toleration: Toleration, taint: Taint): boolean => {
  if (toleration.effect && toleration.effect !== taint.effect) return false
  if (toleration.key && toleration.key !== taint.key) return false
  switch (toleration.operator || 'Equal') {
    case 'Exists':
      return true
    case 'Equal':
      return (toleration.value ?? '') === (taint.value ?? '')
    default:
      return false
  }
}

/** Whether any of the tolerations covers the taint. */
export const isTolerated = (tolerations: readonly Toleration[], taint: Taint): boolean =>
  tolerations.some((toleration) => toleratesTaint(toleration, taint))
