from pixelreasoner.train.alarm import CollapseAlarm


def say(alarm, values):
    return [alarm.watch(v) is not None for v in values]


def test_it_speaks_once_when_rapr_falls_towards_zero():
    spoken = say(CollapseAlarm(memory=0.5), [0.6, 0.5, 0.2, 0.0, 0.0, 0.0, 0.0])
    assert spoken == [False, False, False, False, True, False, False]  # .6 .55 .375 .1875 .09375


def test_it_is_silent_for_a_policy_that_never_used_operations():
    assert not any(say(CollapseAlarm(), [0.0, 0.01, 0.0] * 20))


def test_it_speaks_again_after_a_recovery():
    alarm = CollapseAlarm(memory=0.0)
    assert say(alarm, [0.6, 0.0, 0.5, 0.0]) == [False, True, False, True]


def test_the_message_names_the_figures_and_a_remedy():
    alarm = CollapseAlarm(memory=0.0)
    alarm.watch(0.5)
    text = alarm.watch(0.05)
    assert text is not None
    assert "0.05" in text
    assert "0.50" in text
    assert "reward.alpha" in text
