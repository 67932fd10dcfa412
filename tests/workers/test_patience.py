from gateway.workers.patience import FIRST_PAUSE_S, LAST_TRIES, LONGEST_PAUSE_S, STEADY_S, Patience


def test_the_first_death_of_a_steady_worker_is_followed_by_no_pause():
    patience = Patience()

    patience.ended(lived_s=STEADY_S)

    assert patience.pause_s == 0


def test_workers_that_keep_ending_are_started_less_and_less_often():
    patience, pauses = Patience(), []
    for _ in range(8):
        patience.ended(lived_s=0.5)
        pauses.append(patience.pause_s)

    assert pauses[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert pauses[-1] == LONGEST_PAUSE_S


def test_a_worker_that_lived_long_makes_up_for_those_before():
    patience = Patience()
    for lived_s in (0.1, 0.1, STEADY_S + 1):
        patience.ended(lived_s)

    assert patience.pause_s == 0


def test_patience_ends_with_failed_starts_in_a_row_and_not_with_deaths():
    patience = Patience()
    for _ in range(LAST_TRIES - 1):
        patience.start_failed()
    patience.started()
    patience.start_failed()
    patience.ended(0.1)

    assert not patience.exhausted
    for _ in range(LAST_TRIES - 1):
        patience.start_failed()
    assert patience.exhausted
