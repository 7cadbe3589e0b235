import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { VirtualClock } from '../../clock/clock.ts'
import { CircuitBreaker } from './breaker.ts'
import { Budget } from './budget.ts'

const settings = { enabled: true, failureThreshold: 3, timeoutMs: 1000, halfOpenMaxCalls: 1 }
const fail = (breaker: CircuitBreaker, times: number): void => {
  for (let i = 0; i < times; i++) breaker.begin().failed()
}

describe('the circuit breaker', () => {
  test('opens after so many failures in a row, and a success in between starts the count again', () => {
    const breaker = new CircuitBreaker(settings, new VirtualClock())
    fail(breaker, 2)
    breaker.begin().succeeded()
    fail(breaker, 2)
    assert.equal(breaker.state, 'closed')
    fail(breaker, 1)
    assert.equal(breaker.state, 'open')
    assert.equal(breaker.admits, false)
    assert.equal(breaker.trips, 1)
  })

  test('lets one probe through when its time is over: a success closes it, a failure opens it again', () => {
    const clock = new VirtualClock()
    const breaker = new CircuitBreaker(settings, clock)
    fail(breaker, 3)
    clock.advance(1000)
    assert.equal(breaker.state, 'half_open')
    const probe = breaker.begin()
    assert.equal(breaker.admits, false, 'one probe at a time')
    probe.failed()
    assert.equal(breaker.state, 'open')
    assert.equal(breaker.trips, 2)
    clock.advance(1000)
    breaker.begin().succeeded()
    assert.equal(breaker.state, 'closed')
    fail(breaker, 2)
    assert.equal(breaker.state, 'closed')
  })

  test('is not closed by an answer to what was asked before it opened, and forgets a probe that was called off', () => {
    const clock = new VirtualClock()
    const breaker = new CircuitBreaker(settings, clock)
    const early = breaker.begin()
    fail(breaker, 3)
    early.succeeded()
    assert.equal(breaker.state, 'open')
    clock.advance(1000)
    breaker.begin().calledOff()
    assert.equal(breaker.admits, true)
  })

  test('that is switched off never opens by itself, but is held where the server says that asking is of no use', () => {
    const clock = new VirtualClock()
    const breaker = new CircuitBreaker({ ...settings, enabled: false }, clock)
    fail(breaker, 100)
    assert.equal(breaker.state, 'closed')
    breaker.hold(5000)
    clock.advance(4999)
    assert.equal(breaker.admits, false)
    clock.advance(1)
    assert.equal(breaker.admits, true)
  })
})

describe('the budget', () => {
  test('of requests is one of any minute, not of the minutes of the clock', () => {
    const clock = new VirtualClock()
    const budget = new Budget({ requestsPerMinute: 3, dollarsPerDay: 1 }, clock)
    clock.advance(59_000)
    assert.deepEqual([budget.take(), budget.take(), budget.take(), budget.take()], [true, true, true, false])
    assert.equal(budget.exhausted, 'requests')
    clock.advance(59_999)
    assert.equal(budget.take(), false)
    clock.advance(1)
    assert.equal(budget.take(), true)
  })

  test('of money begins anew at midnight UTC, and none at all still lets ask who takes none', () => {
    const clock = new VirtualClock(Date.UTC(2026, 0, 1, 23, 59))
    const budget = new Budget({ requestsPerMinute: 100, dollarsPerDay: 1 }, clock)
    budget.spend(0.6)
    assert.equal(budget.exhausted, undefined)
    budget.spend(0.6)
    assert.equal(budget.exhausted, 'money')
    assert.equal(budget.take(), false)
    clock.advance(60_000)
    assert.equal(budget.exhausted, undefined)
    assert.equal(budget.spentToday, 0)
    const none = new Budget({ requestsPerMinute: 100, dollarsPerDay: 0 }, clock)
    none.spend(0)
    assert.equal(none.take(), true)
    none.spend(0.01)
    assert.equal(none.take(), false)
  })
})
