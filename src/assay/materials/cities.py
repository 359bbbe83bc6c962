"""Cities with the country, the continent and the main language of each: common knowledge, written down for tests of what a model knows."""

from __future__ import annotations

from dataclasses import dataclass

ATTRIBUTES = ("country", "continent", "language")


@dataclass(frozen=True)
class City:
    """A city and what is so of it."""

    name: str
    country: str
    continent: str
    language: str


_TABLE = """
Asia
 Japan, Japanese: Tokyo, Osaka, Kyoto, Nagoya, Hiroshima, Sapporo
 China, Chinese: Beijing, Shanghai, Wuhan, Nanjing, Chengdu, Guangzhou
 Korea, Korean: Seoul, Busan, Incheon
 India, Hindi: Delhi, Jaipur, Lucknow, Kanpur, Varanasi
 Thailand, Thai: Bangkok, Phuket
 Vietnam, Vietnamese: Hanoi, Saigon
 Iran, Persian: Tehran, Isfahan, Shiraz
 Iraq, Arabic: Baghdad, Basra, Mosul
 Israel, Hebrew: Tel Aviv, Haifa
 Indonesia, Indonesian: Jakarta, Bandung, Surabaya
 Pakistan, Urdu: Karachi, Lahore, Islamabad
 Nepal, Nepali: Kathmandu
 Syria, Arabic: Damascus, Aleppo
Europe
 France, French: Paris, Lyon, Marseille, Toulouse, Bordeaux
 Germany, German: Berlin, Munich, Hamburg, Frankfurt, Dresden
 Italy, Italian: Rome, Milan, Naples, Venice, Florence
 Spain, Spanish: Madrid, Barcelona, Seville, Valencia
 Portugal, Portuguese: Lisbon, Porto
 Russia, Russian: Moscow, Petersburg, Kazan
 Poland, Polish: Warsaw, Krakow, Gdansk
 Greece, Greek: Athens, Thessaloniki
 Sweden, Swedish: Stockholm, Gothenburg
 Norway, Norwegian: Oslo, Bergen
 Denmark, Danish: Copenhagen, Aarhus
 Finland, Finnish: Helsinki, Tampere
 Hungary, Hungarian: Budapest
 Austria, German: Vienna, Salzburg, Graz
 Ireland, English: Dublin, Cork
 England, English: London, Manchester, Liverpool, Birmingham
 Ukraine, Ukrainian: Kiev, Odessa, Kharkiv
 Romania, Romanian: Bucharest
 Turkey, Turkish: Istanbul
Africa
 Egypt, Arabic: Cairo, Alexandria, Giza
 Nigeria, English: Lagos, Abuja
 Kenya, Swahili: Nairobi, Mombasa
 Ethiopia, Amharic: Addis Ababa
 Morocco, Arabic: Casablanca, Marrakesh, Fez
 Algeria, Arabic: Algiers, Oran
 Ghana, English: Accra, Kumasi
 Senegal, French: Dakar
 Tanzania, Swahili: Dodoma, Zanzibar
South America
 Brazil, Portuguese: Rio de Janeiro, Brasilia, Recife, Salvador
 Argentina, Spanish: Buenos Aires, Rosario, Mendoza
 Peru, Spanish: Lima, Cusco
 Chile, Spanish: Santiago, Valparaiso
 Colombia, Spanish: Bogota, Medellin, Cali
 Venezuela, Spanish: Caracas, Maracaibo
North America
 Canada, English: Toronto, Vancouver, Ottawa, Calgary
 Mexico, Spanish: Guadalajara, Monterrey, Tijuana
 Cuba, Spanish: Havana
Australia
 Australia, English: Sydney, Melbourne, Brisbane, Perth, Adelaide
"""


def cities() -> tuple[City, ...]:
    """All of them, in the order of the table."""
    found, continent = [], ""
    for line in _TABLE.strip().splitlines():
        if not line.startswith(" "):
            continent = line
            continue
        about, _, names = line.strip().partition(": ")
        country, language = about.split(", ")
        found += [City(name, country, continent, language) for name in names.split(", ")]
    return tuple(found)
