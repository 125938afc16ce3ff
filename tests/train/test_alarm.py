from pixelreasoner.train.alarm import CollapseAlarm


def warnings(alarm, values):
    return [alarm.watch(v) is not None for v in values]


def test_it_warns_once_when_rapr_falls_towards_zero():
    warned = warnings(CollapseAlarm(smoothing=0.5), [0.6, 0.5, 0.2, 0.0, 0.0, 0.0, 0.0])
    assert warned == [False, False, False, False, True, False, False]  # .6 .55 .375 .1875 .09375


def test_it_is_silent_for_a_policy_that_never_used_operations():
    assert not any(warnings(CollapseAlarm(), [0.0, 0.01, 0.0] * 20))


def test_it_warns_again_after_a_recovery():
    alarm = CollapseAlarm(smoothing=0.0)
    assert warnings(alarm, [0.6, 0.0, 0.5, 0.0]) == [False, True, False, True]


def test_the_message_names_the_figures_and_a_remedy():
    alarm = CollapseAlarm(smoothing=0.0)
    alarm.watch(0.5)
    text = alarm.watch(0.05)
    assert text is not None
    assert "0.05" in text
    assert "0.50" in text
    assert "rewards.curiosity.weight" in text


def test_a_restored_alarm_goes_on_exactly():
    first, second = CollapseAlarm(smoothing=0.5), CollapseAlarm(smoothing=0.5)
    values = [0.6, 0.5, 0.2, 0.0, 0.0, 0.0]
    whole = warnings(CollapseAlarm(smoothing=0.5), values)
    begun = warnings(first, values[:3])
    second.load_state_dict(first.state_dict())
    assert begun + warnings(second, values[3:]) == whole
