"""Looking: the commands that show something and change nothing."""

from relocscope.stepping import texts, views, words
from relocscope.stepping.control import Answer, Control, Words
from traces.errors import InputError

# -- Looking ----------------------------------------------------------------------------------------------------------


def regs(control: Control, _: Words) -> Answer:
    """Show general registers."""
    facts = views.registers(control.session)
    return Answer({"registers": facts}, texts.registers(facts))


def sysregs(control: Control, said: Words) -> Answer:
    """Show system registers by field."""
    facts = views.system_registers(control.session, tuple(name.upper() for name in said))
    return Answer({"system_registers": facts}, texts.system_registers(facts))


def x(control: Control, said: Words) -> Answer:
    """Show memory."""
    size = words.number(said[1], "length")
    if not 0 < size <= 1 << 20:
        raise InputError(f"x: length {size}: must lie between 1 and 1 MiB")
    if len(said) > 2 and said[2].lower() not in ("va", "pa"):
        raise InputError(f"x: {said[2]}: must be va or pa")
    va = words.address(control.session, said[0])
    data = views.memory(control.session, va, size, is_physical=len(said) > 2 and said[2].lower() == "pa")
    return Answer({"va": f"{va:#x}", "bytes": data.hex()}, texts.dump(va, data))


def translate(control: Control, said: Words) -> Answer:
    """Show a walk."""
    facts = views.translation(control.session, words.address(control.session, said[0]))
    return Answer(facts, texts.translation(facts))


def cost(control: Control, said: Words) -> Answer:
    """Show what the last and the next instruction cost, or all executions at an address."""
    session = control.session
    if not said:
        last = {leaf: cycles for leaf, cycles in session.last_bill.items() if cycles}
        following = {leaf: cycles for leaf, cycles in session.next_bill().items() if cycles}
        access = views.next_access(session)
        lines = [f"last: {texts.bill(last)}", f"next: {texts.bill(following)}"]
        lines += [f"      {texts.access(access)}"] if access else []
        facts = {"last": last, "next": following, "access": access, "dearest": views.costs(session)}
        return Answer(facts, "\n".join(lines))
    va = words.address(session, said[0])
    times, bill = session.costs_by_address().get(va, (0, {}))
    spent = {leaf: cycles for leaf, cycles in bill.items() if cycles}
    return Answer(
        {"va": f"{va:#x}", "count": times, "cycles": sum(spent.values()), "causes": spent},
        f"{va:#x}: executed {times} times, {texts.bill(spent)}",
    )


def stack(control: Control, _: Words) -> Answer:
    """Show the cycle stack up to here."""
    leaves = control.session.cycle_stack()
    return Answer({"cycles": control.session.cycles, "cycle_stack": leaves}, texts.stack(leaves))


def caches(control: Control, said: Words) -> Answer:
    """Show the sets that an address falls into."""
    from caches.inspect import cache_sets

    session = control.session
    va = words.address(session, said[0])
    pa = va if len(said) > 1 and said[1].lower() == "pa" else views.physical(session, va)
    facts = cache_sets(session.model.state, session.config, pa)
    return Answer({"va": f"{va:#x}", "pa": f"{pa:#x}", "levels": facts}, texts.sets(facts))


def tlb(control: Control, said: Words) -> Answer:
    """Show the TLB entries that translate an address."""
    from caches.inspect import tlb_entries, tlb_use

    session = control.session
    va = words.address(session, said[0])
    entries, use = tlb_entries(session.model.state, va), tlb_use(session.model.state)
    held = [
        f"  {one['tlb']} entry {one['entry']}: {one['va']}, {one['bytes']:#x} bytes{', global' * one['global']}"
        for one in entries
    ] or ["  no TLB translates it"]
    text = "  ".join(f"{name} {one['used']}/{one['entries']}" for name, one in use.items())
    return Answer({"va": f"{va:#x}", "entries": entries, "tlbs": use}, "\n".join([f"{va:#x}", *held, text]))


def buffers(control: Control, _: Words) -> Answer:
    """Show misses and stores under way."""
    from caches.inspect import outstanding

    facts = outstanding(control.session.model.state)
    lines = [
        f"{name}: {one['busy']} of {one['buffers']} miss buffers busy"
        for name, one in facts["miss_buffers"].items()
        if one["buffers"]
    ]
    waiting = facts["store_buffer"]
    lines.append(f"store buffer: {waiting['waiting']} of {waiting['entries']} entries wait")
    lines += [f"merging: {one['pa']}, {one['quarters'] * 16:.0f} of 64 bytes" for one in facts["merging"]]
    return Answer(facts, "\n".join(lines))


TOPICS = ("run", "breaks", "changes", "map", "kimage", "symbols")


def info(control: Control, said: Words) -> Answer:
    """Show facts of the run, stops, the memory map, the list or the symbols."""
    session, topic = control.session, words.one_of(said[0], TOPICS, "info") if said else "run"
    if topic == "breaks":
        listed = [{"stop": number, "what": stop.words} for number, stop in control.stops.items()]
        return Answer({"stops": listed}, "\n".join(f"{one['stop']}: {one['what']}" for one in listed) or "none")
    if topic == "changes":
        made = [{**change.facts(), "what": str(change)} for change in session.changes]
        return Answer({"changes": made}, "\n".join(f"#{one['insn']}  {one['what']}" for one in made) or "none")
    if topic == "map":
        rows = views.memory_map(session)
        return Answer({"map": rows}, texts.table([(row["role"], row["pa"], row["bytes"]) for row in rows]))
    if topic == "kimage":
        facts = views.kimage(session)
        pages = [(">" if one["page"] == facts["begun"] else " ", *one.values()) for one in facts["window"]]
        text = f"{facts['begun']} of {facts['pages']} pages begun, head {facts['head']}\n{texts.table(pages)}"
        return Answer(facts, text)
    if topic == "symbols":
        named = {name: f"{va:#x}" for name, va in sorted(session.symbols.items(), key=lambda item: item[1])}
        return Answer({"symbols": named}, texts.table([(va, name) for name, va in named.items()]))
    facts = {
        "case": session.subject.name,
        "core": session.config.name,
        "boot": session.stepped.boot,
        "instructions": session.timeline.end,
        "pages": len(session.kimage.sources),
        "edits": len(session.edits),
        "regime": views.regime_in_words(session.regime),
        "ends": views.ending(session),
    }
    return Answer(facts, "\n".join(f"{name:<13} {value}" for name, value in facts.items()))


def where(control: Control, _: Words) -> Answer:
    """Show where it stands."""
    return control.here()


def list_(control: Control, said: Words) -> Answer:
    """Show the code around."""
    lines = views.code(control.session, after=words.number(said[0]) if said else 16)
    return Answer({"code": lines}, texts.code(lines))
