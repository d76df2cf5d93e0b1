"""What merchants sell, at which prices and under which kind of name."""

from dataclasses import dataclass

from dev.bank.categories import Category, Channel, Primary


@dataclass(frozen=True, slots=True)
class Trade:
    """A category that merchants sell in.

    Parameters
    ----------
    suffixes
        Last words of the merchants' names; no two trades share one.
    low, high
        US cents of the cheapest and the dearest sale.
    weight
        Share of the merchants, and of the purchases, relative to the other trades'.
    """

    category: Category
    suffixes: tuple[str, ...]
    low: int
    high: int
    weight: int
    channel: Channel = Channel.IN_STORE


def _trade(primary: Primary, detail: str, suffixes: str, prices: tuple[int, int], weight: int) -> Trade:
    return Trade(Category.of(primary, detail), tuple(suffixes.split("/")), *prices, weight)


def _online(primary: Primary, detail: str, suffixes: str, prices: tuple[int, int], weight: int) -> Trade:
    return Trade(Category.of(primary, detail), tuple(suffixes.split("/")), *prices, weight, Channel.ONLINE)


SHOPS = (
    _trade(Primary.FOOD_AND_DRINK, "GROCERIES", "Market/Grocers/Foods/Pantry/Greengrocer", (600, 13_000), 20),
    _trade(Primary.FOOD_AND_DRINK, "COFFEE", "Coffee/Espresso Bar/Tea Room/Roasters", (250, 950), 11),
    _trade(Primary.FOOD_AND_DRINK, "RESTAURANT", "Kitchen/Bistro/Trattoria/Grill/Noodle House", (1_200, 9_000), 10),
    _trade(Primary.FOOD_AND_DRINK, "FAST_FOOD", "Burgers/Chicken/Pizza/Wraps", (500, 2_600), 8),
    _trade(Primary.FOOD_AND_DRINK, "BEER_WINE_AND_LIQUOR", "Cellars/Brewery/Taproom", (700, 4_500), 4),
    _trade(Primary.GENERAL_MERCHANDISE, "CONVENIENCE_STORES", "Corner Shop/Express/Mini Mart", (200, 2_200), 6),
    _trade(Primary.GENERAL_MERCHANDISE, "CLOTHING_AND_ACCESSORIES", "Outfitters/Tailors/Shoes", (1_500, 16_000), 4),
    _online(Primary.GENERAL_MERCHANDISE, "ONLINE_MARKETPLACES", "Direct/Bazaar/Online", (800, 12_000), 7),
    _trade(Primary.GENERAL_MERCHANDISE, "ELECTRONICS", "Electronics/Audio/Camera", (1_900, 60_000), 1),
    _trade(Primary.GENERAL_MERCHANDISE, "BOOKSTORES_AND_NEWSSTANDS", "Books/News", (300, 4_000), 2),
    _trade(Primary.GENERAL_MERCHANDISE, "PET_SUPPLIES", "Pets/Aquatics", (900, 8_000), 1),
    _trade(Primary.GENERAL_MERCHANDISE, "GIFTS_AND_NOVELTIES", "Gifts/Flowers/Toys", (800, 7_000), 2),
    _trade(Primary.HOME_IMPROVEMENT, "HARDWARE", "Hardware/Timber/Tools", (500, 18_000), 2),
    _trade(Primary.HOME_IMPROVEMENT, "FURNITURE", "Furniture/Interiors", (4_000, 70_000), 1),
    _trade(Primary.MEDICAL, "PHARMACIES_AND_SUPPLEMENTS", "Pharmacy/Chemist", (400, 6_000), 3),
    _trade(Primary.MEDICAL, "DENTAL_CARE", "Dental/Orthodontics", (4_000, 30_000), 1),
    _trade(Primary.PERSONAL_CARE, "HAIR_AND_BEAUTY", "Hair/Barbers/Beauty", (1_500, 11_000), 2),
    _trade(Primary.ENTERTAINMENT, "TV_AND_MOVIES", "Cinema/Picture House", (900, 4_000), 2),
    _online(Primary.ENTERTAINMENT, "VIDEO_GAMES", "Games/Arcade", (500, 7_000), 2),
    _trade(Primary.TRANSPORTATION, "GAS", "Fuel/Service Station", (2_000, 9_500), 5),
    _trade(Primary.TRANSPORTATION, "PUBLIC_TRANSIT", "Transit/Tramways/Rail", (200, 2_500), 9),
    _online(Primary.TRANSPORTATION, "TAXIS_AND_RIDE_SHARES", "Cabs/Rides", (700, 4_500), 5),
    _trade(Primary.TRANSPORTATION, "PARKING", "Parking/Car Park", (200, 2_400), 3),
    _trade(Primary.GENERAL_SERVICES, "AUTOMOTIVE", "Garage/Tyres", (3_000, 45_000), 1),
    _online(Primary.TRAVEL, "LODGING", "Hotel/Inn/Hostel", (7_000, 45_000), 1),
    _online(Primary.TRAVEL, "FLIGHTS", "Airways/Air", (8_000, 60_000), 1),
)

SUBSCRIPTIONS = (
    _online(Primary.ENTERTAINMENT, "MUSIC_AND_AUDIO", "Radio/Music", (499, 1_599), 3),
    _online(Primary.ENTERTAINMENT, "OTHER_ENTERTAINMENT", "Stream/Series/Box Office", (699, 2_299), 4),
    _online(Primary.GENERAL_SERVICES, "OTHER_GENERAL_SERVICES", "Cloud/Storage/Software", (199, 2_499), 3),
    _online(Primary.PERSONAL_CARE, "GYMS_AND_FITNESS_CENTERS", "Fitness/Gym/Yoga", (1_999, 7_999), 3),
    _online(Primary.GENERAL_SERVICES, "INSURANCE", "Insurance/Assurance", (2_500, 16_000), 3),
)

UTILITIES = (
    _online(Primary.RENT_AND_UTILITIES, "GAS_AND_ELECTRICITY", "Energy/Power", (4_500, 18_000), 3),
    _online(Primary.RENT_AND_UTILITIES, "INTERNET_AND_CABLE", "Broadband/Fibre", (2_500, 8_500), 3),
    _online(Primary.RENT_AND_UTILITIES, "TELEPHONE", "Mobile/Telecom", (1_200, 7_500), 3),
    _online(Primary.RENT_AND_UTILITIES, "WATER", "Water", (2_000, 6_500), 2),
)
