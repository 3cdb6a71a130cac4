/*
 * frame_block.pml - one block of the frame allocator, for Spin: the protocol of
 * src/internal/frame_region.h with two frames, each a row of its own.
 *
 * Whoever claims the block takes frames; anybody frees. Each line that reads or
 * changes shared state is one step there too (one atomic operation). Checked in every
 * order of the steps of TAKERS processes and one that wants the whole block:
 *
 *   - no frame is given to two                                    (assert in take)
 *   - a block said to be free has no frame in use                 (assert in whole)
 *   - when all is quiet the word is right, and what is to be found is shown
 *   - nobody waits: every process ends                            (no invalid end state)
 */
#ifndef TAKERS
#define TAKERS 2
#endif
#define FRAMES 2

mtype = { FREE, OPEN, OWNED };

mtype word = FREE;
bool used[FRAMES];                   /* the rows */
bool owned[FRAMES];                  /* by somebody who asked: the truth */
bool whole_shown = true, part_shown; /* the maps */
byte quiet;                          /* processes that have ended */

inline rows_are(value, result) /* each row is read by itself */
{
    result = (used[0] == value);
    result = result && (used[1] == value);
}

inline show_whole() { if :: !whole_shown -> whole_shown = true :: else fi }
inline show_part() { if :: !part_shown -> part_shown = true :: else fi }

inline hide_whole(now)
{
    whole_shown = false;
    now = word;
    if :: now == FREE -> show_whole() :: else fi
}

inline hide_part(now, all)
{
    part_shown = false;
    now = word;
    if
    :: now == OPEN ->
        rows_are(true, all);
        if :: !all -> show_part() :: else fi
    :: else
    fi
}

inline claim(from, mine)
{
    atomic { mine = (word == from); if :: mine -> word = OWNED :: else fi }
}

inline settle(all, again)
{
    again = true;
    do
    :: again ->
        rows_are(false, all);
        if
        :: all -> word = FREE; show_whole(); again = false
        :: else ->
            word = OPEN;
            rows_are(true, all);
            if :: !all -> show_part() :: else fi;
            rows_are(false, again);
            if :: again -> claim(OPEN, again) :: else fi
        fi
    :: else -> break
    od
}

inline freed(now, all, mine)
{
    now = word;
    if
    :: now == OPEN ->
        rows_are(true, all);
        if :: !all -> show_part() :: else fi;
        rows_are(false, all);
        if
        :: all -> claim(OPEN, mine); if :: mine -> settle(all, mine) :: else fi
        :: else
        fi
    :: else
    fi
}

/* One frame, if there is one, twice: freed at once, but the second may be kept. */
proctype taker()
{
    mtype now, from;
    bool all, mine;
    byte frame, round;

    do
    :: round < 2 ->
        round++;
        frame = FRAMES;
        if
        :: part_shown -> from = OPEN
        :: else -> if :: whole_shown -> from = FREE :: else -> from = OWNED fi
        fi;
        if
        :: from != OWNED ->
            claim(from, mine);
            if :: from == OPEN -> hide_part(now, all) :: else -> hide_whole(now) fi;
            if
            :: mine ->
                if
                :: !used[0] -> frame = 0
                :: else -> if :: !used[1] -> frame = 1 :: else fi
                fi;
                if
                :: frame < FRAMES ->
                    used[frame] = true;
                    atomic { assert(!owned[frame]); owned[frame] = true }
                :: else
                fi;
                settle(all, mine)
            :: else
            fi
        :: else
        fi;
        if
        :: frame < FRAMES && round == 2 -> skip
        :: frame < FRAMES ->
            owned[frame] = false;
            atomic { /* the row as it was: full, or with this frame only */
                assert(used[frame]);
                used[frame] = false
            };
            freed(now, all, mine)
        :: else
        fi
    :: else -> break
    od;
    quiet++
}

/* The whole block, freed as a whole or frame by frame. */
proctype whole()
{
    mtype now;
    bool all, mine;

    if
    :: whole_shown ->
        claim(FREE, mine);
        if
        :: !mine -> hide_whole(now)
        :: else ->
            atomic { assert(!used[0] && !used[1] && !owned[0] && !owned[1]);
                     owned[0] = true; owned[1] = true };
            used[0] = true;
            used[1] = true;
            word = OPEN;
            owned[0] = false;
            owned[1] = false;
            if
            :: true ->
                claim(OPEN, mine);
                if
                :: mine ->
                    rows_are(true, all);
                    assert(all);
                    used[0] = false;
                    used[1] = false;
                    word = FREE;
                    show_whole()
                :: else -> /* somebody looks whether it has free frames: one by one */
                    used[0] = false;
                    freed(now, all, mine);
                    used[1] = false;
                    freed(now, all, mine)
                fi
            :: true ->
                used[0] = false;
                freed(now, all, mine);
                used[1] = false;
                freed(now, all, mine)
            fi
        fi
    :: else
    fi;
    quiet++
}

init
{
    byte i;

    atomic {
        for (i : 1 .. TAKERS) { run taker() }
        run whole()
    };
    quiet == TAKERS + 1;
    assert(used[0] == owned[0] && used[1] == owned[1]);
    assert(word == (used[0] || used[1] -> OPEN : FREE));
    assert(word == OPEN || whole_shown);
    assert(word == FREE || (used[0] && used[1]) || part_shown)
}
