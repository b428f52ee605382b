"""The words and sentences of the language that the recall model learns.

Sentences are templates. Words in capitals are slots: PERSON and OTHER are two people of a story, TOWN, TRADE, COLOUR
and ANIMAL what the first one has in it throughout, HOME the other one's town; NOUN, QUALITY and DAY are drawn anew each
time, YEAR is four digits. What stories tell is so in the rest of a story, and nowhere else.

The sentences that are hidden, and the questions, are those of harness/measure/needle.c, whose materials and things
come first in the lists here.
"""

MATERIALS = """copper silver bronze marble glass paper wax clay iron amber ivory cotton steel jade straw leather gold
 tin lead brass wool silk linen velvet granite slate chalk sand salt coal oak pine birch cedar maple walnut bamboo
 rubber cork felt lace tar resin coral pearl ruby opal quartz""".split()

THINGS = """falcon lantern violin anchor turtle ladder kettle compass rabbit basket hammer mirror spider bridge candle
 wagon pillow bucket saddle shovel ribbon helmet bottle barrel carpet dagger drum feather flute goblet harp hatchet
 jacket kite needle oven paddle quilt razor scarf sickle spoon stool sword tablet thimble trumpet whistle""".split()

PEOPLE = """Anna Boris Clara David Edith Felix Greta Henry Irene Jonas Karin Louis Maria Nils Olga Peter Quentin Rosa
 Simon Tessa Ulric Vera Walter Yvonne Adam Berta Conrad Doris Emil Frieda Gustav Hanna Ivan Julia Klaus Laura Martin
 Nora Oscar Paula""".split()

TOWNS = """Aberdeen Bergen Cadiz Dresden Esbjerg Florence Geneva Hamburg Iquique Jena Krakow Lisbon Malmo Naples
 Odessa Porto Riga Seville Turin Utrecht Verona Warsaw York Zurich Athens Basel Cork Delft""".split()

TRADES = """baker tailor farmer miller sailor mason weaver doctor painter hunter teacher barber cooper potter clerk
 gardener""".split()

COLOURS = "red green blue yellow black white brown grey".split()

ANIMALS = "dog cat horse goat sheep hen goose pig cow donkey duck parrot".split()

# Some of the things that are hidden are also met in stories.
NOUNS = """house river garden window letter market table winter mountain garage forest school church harbour road
 field kitchen clock picture wall tower door ship bread""".split() + THINGS[:16]

QUALITIES = """old new small large quiet heavy cold warm empty narrow broken pretty strange dry dark bright tall
 round""".split() + MATERIALS[:8]

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()

SLOTS = ["PERSON", "OTHER", "TOWN", "TRADE", "COLOUR", "ANIMAL", "HOME", "NOUN", "QUALITY", "DAY"]

# How often, and what. Each begins with a space, for it goes on in a line.
TEMPLATES = [
    (3, " PERSON lives in TOWN and works as a TRADE."),
    (3, " PERSON the TRADE has a COLOUR ANIMAL."),
    (2, " On DAY the COLOUR ANIMAL of PERSON ran through TOWN."),
    (2, " PERSON went home to TOWN on DAY."),
    (2, " OTHER came from HOME to see PERSON in TOWN."),
    (2, " PERSON asked OTHER about the QUALITY NOUN in HOME."),
    (1, " PERSON sold the QUALITY NOUN to OTHER for YEAR coins."),
    (1, " In YEAR the QUALITY NOUN was brought to TOWN by PERSON."),
    (2, " The NOUN near the QUALITY NOUN is QUALITY."),
    (1, " The number of the NOUN in TOWN was YEAR, said PERSON."),
    (1, " It was a QUALITY day, and the QUALITY NOUN was sold."),
    (2, " The ANIMAL of PERSON is COLOUR, but that of OTHER is not."),
    (1, " A letter for PERSON was sent to TOWN in YEAR."),
]
STORY_BEGINS = "\nHere begins another story."

STATEMENT = "\nThe secret number of the {material} {thing} is {value}.\n"
VERBATIM = "\nThe secret number of the {material} {thing} is"
PARAPHRASED = "\nSomebody asked about the {thing} made of {material}. Its secret number is"
ANSWER = " {value}.\n"
