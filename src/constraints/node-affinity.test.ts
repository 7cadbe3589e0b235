import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { label, node, nodeName, pod, term } from '../../test/builders.ts'
import type { NodeObject, PodObject } from '../cluster/objects.ts'
import { isPodRefusal } from './constraint.ts'
import { clusterOf, refusalOn } from './contract.ts'
import {
  CONFLICTING_NAMES,
  createNodeAffinity,
  nodeAffinityByName,
  REASON_AFFINITY,
  REASON_LEFT_OUT,
} from './node-affinity.ts'

const here = node('n1').zone('a').label('cores', '16').object()
const zone = 'topology.kubernetes.io/zone'
const hostname = 'kubernetes.io/hostname'

const allows = (given: PodObject, on: NodeObject): boolean => refusalOn(createNodeAffinity(), given, on) === undefined

describe('where a pod asks to be', () => {
  const table: readonly [title: string, given: PodObject, allowed: boolean][] = [
    ['a nodeSelector finds its label', pod('p').nodeSelector(zone, 'a').object(), true],
    ['a nodeSelector with another value does not', pod('p').nodeSelector(zone, 'b').object(), false],
    [
      'all labels of a nodeSelector count',
      pod('p').nodeSelector(zone, 'a').nodeSelector('disk', 'ssd').object(),
      false,
    ],
    ['a nodeSelector for the host name picks one node', pod('p').nodeSelector(hostname, 'n1').object(), true],
    ['a nodeSelector for another host name does not', pod('p').nodeSelector(hostname, 'n2').object(), false],
    [
      'terms are alternatives',
      pod('p')
        .requiresNode(term(label(zone).in('b')), term(label('cores').exists()))
        .object(),
      true,
    ],
    [
      'the expressions of a term must all hold',
      pod('p')
        .requiresNode(term(label(zone).in('a'), label('disk').exists()))
        .object(),
      false,
    ],
    [
      'nodeSelector and terms must both hold',
      pod('p')
        .nodeSelector(zone, 'b')
        .requiresNode(term(label(zone).in('a')))
        .object(),
      false,
    ],
    ['an empty term matches nothing', pod('p').requiresNode(term()).object(), false],
    ['no terms match nothing', pod('p').requiresNode().object(), false],
    [
      'NotIn holds without the label',
      pod('p')
        .requiresNode(term(label('disk').notIn('ssd')))
        .object(),
      true,
    ],
    [
      'DoesNotExist holds without the label',
      pod('p')
        .requiresNode(term(label('disk').isAbsent()))
        .object(),
      true,
    ],
    [
      'Gt compares as numbers',
      pod('p')
        .requiresNode(term(label('cores').greaterThan(9)))
        .object(),
      true,
    ],
    [
      'Lt compares as numbers',
      pod('p')
        .requiresNode(term(label('cores').lessThan(9)))
        .object(),
      false,
    ],
    [
      'Gt is false for what is no number',
      pod('p')
        .requiresNode(term(label(zone).greaterThan(1)))
        .object(),
      false,
    ],
    [
      'a term may name the node',
      pod('p')
        .requiresNode(term(nodeName().in('n1')))
        .object(),
      true,
    ],
    [
      'a term may exclude a node by name',
      pod('p')
        .requiresNode(term(nodeName().notIn('n1')))
        .object(),
      false,
    ],
    [
      'a term about the host name and one about a zone are alternatives too',
      pod('p')
        .requiresNode(term(label(hostname).in('n2')), term(label(zone).in('a')))
        .object(),
      true,
    ],
    [
      'a label called like a property of objects is just a label',
      pod('p').nodeSelector('constructor', 'x').object(),
      false,
    ],
  ]
  for (const [title, given, allowed] of table) test(title, () => assert.equal(allows(given, here), allowed))

  test('the words are those of kube-scheduler, and no eviction helps', () => {
    assert.equal(REASON_AFFINITY, "node(s) didn't match Pod's node affinity/selector")
    const { reasons, preemptionCouldHelp } =
      refusalOn(createNodeAffinity(), pod('p').nodeSelector(zone, 'b').object(), here) ?? {}
    assert.deepEqual(reasons, [REASON_AFFINITY])
    assert.equal(preemptionCouldHelp, false)
  })
})

describe('pods pinned to nodes by name', () => {
  const daemon = (...names: string[]): PodObject =>
    pod('p')
      .requiresNode(...names.map((name) => term(nodeName().in(name))))
      .object()

  test('the other nodes only say that they were left out', () => {
    assert.deepEqual(refusalOn(nodeAffinityByName, daemon('n2'), here)?.reasons, [REASON_LEFT_OUT])
    assert.equal(REASON_LEFT_OUT, "node(s) didn't satisfy plugin(s) [NodeAffinity]")
    assert.equal(refusalOn(nodeAffinityByName, daemon('n2', 'n1'), here), undefined)
  })

  test('a term that names no node leaves every node in', () => {
    const either = pod('p')
      .requiresNode(term(nodeName().in('n2')), term(label(zone).in('a')))
      .object()
    assert.equal(refusalOn(nodeAffinityByName, either, here), undefined)
  })

  test('names that exclude each other refuse the pod before any node is asked', () => {
    const cluster = clusterOf({ nodes: [here], placed: [] })
    const torn = pod('p')
      .requiresNode(term(nodeName().in('n1'), nodeName().in('n2')))
      .object()
    const refusal = nodeAffinityByName.prepare(cluster.readPod(torn), cluster)
    assert.ok(refusal !== undefined && isPodRefusal(refusal))
    assert.equal(refusal.message, CONFLICTING_NAMES)
    assert.equal(CONFLICTING_NAMES, 'pod affinity terms conflict. not found')
  })
})
